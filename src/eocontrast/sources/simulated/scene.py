"""Which scenes there are: what dominates each, where on Earth it lies, and in which season."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from eocontrast.labels import DFC_CLASSES
from eocontrast.rasters.source import SPLITS

Season = Literal["spring", "summer", "fall", "winter"]
Climate = Literal["boreal", "temperate", "mediterranean", "arid", "tropical"]

SEASONS: tuple[Season, ...] = ("spring", "summer", "fall", "winter")

REGIONS: dict[Climate, tuple[tuple[int, float], ...]] = {
    "boreal": ((35, 61.5), (12, 55.0), (50, 53.0)),
    "temperate": ((32, 49.5), (17, 40.5), (15, 42.0), (52, 37.0), (60, -43.0)),
    "mediterranean": ((30, 38.0), (34, -33.0), (10, 37.5), (36, 36.5)),
    "arid": ((11, 33.5), (38, 24.5), (50, -29.0), (31, 31.0)),
    "tropical": ((43, 19.5), (22, -13.0), (47, 15.0), (36, -12.5)),
}
"""UTM zone and latitude (degrees) of land that has the climate."""

CLIMATES: dict[str, tuple[Climate, ...]] = {
    "Forest": ("boreal", "temperate", "mediterranean", "tropical"),
    "Shrubland": ("mediterranean", "arid", "tropical", "boreal"),
    "Grassland": ("temperate", "mediterranean", "arid", "tropical"),
    "Wetlands": ("boreal", "temperate", "tropical"),
    "Croplands": ("temperate", "mediterranean", "tropical"),
    "Urban/Built-up": ("temperate", "mediterranean", "tropical", "arid"),
    "Barren": ("arid", "mediterranean"),
    "Water": ("boreal", "temperate", "mediterranean", "tropical", "arid"),
}
"""Where on Earth a class dominates whole landscapes."""

GREENNESS: dict[Climate, tuple[float, float, float, float]] = {
    "boreal": (0.45, 0.95, 0.4, 0.1),
    "temperate": (0.7, 0.85, 0.45, 0.3),
    "mediterranean": (0.85, 0.3, 0.3, 0.7),  # rain falls in winter
    "arid": (0.35, 0.2, 0.2, 0.3),
    "tropical": (0.4, 0.9, 0.75, 0.5),  # summer monsoon
}
"""Share of herbs and deciduous leaves that are green, by local season; after MODIS NDVI cycles."""

PIXEL = 10.0
"""Metres; SEN12MS and DFC2020 bring both sensors to this grid."""


@dataclass(frozen=True)
class Scene:
    """One scene: side x side adjacent patches of patch_size pixels."""

    seed: int
    split: str
    index: int
    side: int
    patch_size: int
    dominant: str
    climate: Climate
    zone: int
    latitude: float
    season: Season

    @property
    def pixels(self) -> int:
        """Pixels along one side."""
        return self.side * self.patch_size

    @property
    def local_season(self) -> Season:
        """The calendar season, turned by half a year in the south."""
        turn = 2 if self.latitude < 0 else 0
        return SEASONS[(SEASONS.index(self.season) + turn) % 4]

    @property
    def greenness(self) -> float:
        """Expected green share of the scene's herbs, 0 to 1."""
        return GREENNESS[self.climate][SEASONS.index(self.local_season)]

    @property
    def origin(self) -> tuple[float, float]:
        """UTM easting and northing (m) of the upper left corner.

        Every scene has a slot of its own on a grid wider than a scene, so that no two overlap, and
        the slot depends on no other scene, so that more test scenes move no pretraining scene.
        """
        slot = self.index * len(SPLITS) + SPLITS.index(self.split)
        spacing = max(10_000.0, 1.5 * self.pixels * PIXEL)
        columns = int(450_000 / spacing)  # 275 to 725 km: well within the zone's six degrees
        # 110.9 km a degree is the mean meridian arc; the south counts down from 10,000 km
        northing = round(110.9 * self.latitude + (10_000 if self.latitude < 0 else 0)) * 1000.0
        # 0, -1, 1, -2, ...: rows to the north and south of the region's latitude in turn
        row, north = divmod(slot // columns + 1, 2)
        row = row if north else -row
        return 275_000.0 + slot % columns * spacing, northing + row * spacing

    @property
    def epsg(self) -> int:
        """The UTM zone's code."""
        return (32700 if self.latitude < 0 else 32600) + self.zone

    def rng(self, part: int) -> np.random.Generator:
        """Random numbers of one part of the simulator: a change there leaves the others alone."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), self.index, part])


def plan_scenes(seed: int, split: str, count: int, side: int, patch_size: int) -> list[Scene]:
    """The scenes of a split, stratified by the class that dominates.

    Every run of eight scenes (0-7, 8-15, ...) holds each class once as the dominant one, in a
    shuffled order: twenty scenes drawn freely would lack one of eight classes in 40 % of the draws.
    """
    scenes = []
    for index in range(count):
        block = np.random.default_rng([seed, SPLITS.index(split), index // 8, 1000])
        dominant = list(DFC_CLASSES)[block.permutation(8)[index % 8]]
        rng = np.random.default_rng([seed, SPLITS.index(split), index, 1001])
        season = SEASONS[index % 4] if split == "pretrain" else SEASONS[rng.integers(4)]
        # no acquisition where the sun stands lower than 20 degrees, and snow is no class here
        fits = [c for c in CLIMATES[dominant] if not (c == "boreal" and season == "winter")]
        climate = fits[rng.integers(len(fits))]
        zone, latitude = REGIONS[climate][rng.integers(len(REGIONS[climate]))]
        scenes.append(
            Scene(seed, split, index, side, patch_size, dominant, climate, zone, latitude, season)
        )
    return scenes
