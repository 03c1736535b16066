"""Scenes of each split: dominant class, position on Earth and season."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from eocontrast.config.sources import Season
from eocontrast.labels import DFC_CLASSES
from eocontrast.rasters.source import SPLITS

Climate = Literal["boreal", "temperate", "mediterranean", "arid", "tropical"]

SEASONS: tuple[Season, ...] = ("spring", "summer", "fall", "winter")

REGIONS: dict[Climate, tuple[tuple[int, float], ...]] = {
    "boreal": ((35, 61.5), (12, 55.0), (50, 53.0)),
    "temperate": ((32, 49.5), (17, 40.5), (15, 42.0), (52, 37.0), (60, -43.0)),
    "mediterranean": ((30, 38.0), (34, -33.0), (10, 37.5), (36, 36.5)),
    "arid": ((11, 33.5), (38, 24.5), (50, -29.0), (31, 31.0)),
    "tropical": ((43, 19.5), (22, -13.0), (47, 15.0), (36, -12.5)),
}
"""UTM zones and latitudes (degrees) with each climate."""

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
"""Climates in which a class dominates landscapes."""

GREENNESS: dict[Climate, tuple[float, float, float, float]] = {
    "boreal": (0.45, 0.95, 0.4, 0.1),
    "temperate": (0.7, 0.85, 0.45, 0.3),
    "mediterranean": (0.85, 0.3, 0.3, 0.7),  # rain falls in winter
    "arid": (0.35, 0.2, 0.2, 0.3),
    "tropical": (0.4, 0.9, 0.75, 0.5),  # summer monsoon
}
"""Green share of herbs and deciduous leaves by local season, after MODIS NDVI cycles."""

PIXEL = 10.0
"""Pixel size in metres, to which SEN12MS and DFC2020 resample both sensors."""


@dataclass(frozen=True)
class Scene:
    """A scene of side x side adjacent patches of patch_size pixels.

    `kept` are the numbers of the patches that are written, counted row by row.
    """

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
    kept: tuple[int, ...]

    @property
    def pixels(self) -> int:
        """Side length in pixels."""
        return self.side * self.patch_size

    @property
    def local_season(self) -> Season:
        """The season, shifted by half a year in the southern hemisphere."""
        turn = 2 if self.latitude < 0 else 0
        return SEASONS[(SEASONS.index(self.season) + turn) % 4]

    @property
    def greenness(self) -> float:
        """Expected green share of the scene's herbs, from 0 to 1."""
        return GREENNESS[self.climate][SEASONS.index(self.local_season)]

    @property
    def origin(self) -> tuple[float, float]:
        """UTM easting and northing (m) of the upper left corner.

        Every scene has its own slot on a grid that is wider than a scene, so no two overlap. The
        slot does not depend on the number of scenes, so adding test scenes moves no other scene.
        """
        slot = self.index * len(SPLITS) + SPLITS.index(self.split)
        spacing = max(10_000.0, 1.5 * self.pixels * PIXEL)
        columns = int(450_000 / spacing)  # 275 to 725 km: well within the zone's six degrees
        # 110.9 km per degree is the mean meridian arc; the south counts down from 10,000 km
        northing = round(110.9 * self.latitude + (10_000 if self.latitude < 0 else 0)) * 1000.0
        # 0, -1, 1, -2, ...: rows alternate north and south of the region's latitude
        row, north = divmod(slot // columns + 1, 2)
        row = row if north else -row
        return 275_000.0 + slot % columns * spacing, northing + row * spacing

    @property
    def epsg(self) -> int:
        """EPSG code of the UTM zone."""
        return (32700 if self.latitude < 0 else 32600) + self.zone

    def rng(self, part: int) -> np.random.Generator:
        """Return a generator for one part of the simulator, independent of the other parts."""
        return np.random.default_rng([self.seed, SPLITS.index(self.split), self.index, part])


def plan_scenes(
    seed: int, split: str, count: int, side: int, patch_size: int, kept: int = 0
) -> list[Scene]:
    """Return the scenes of a split, stratified by their dominant class.

    `kept` patches of each scene are drawn at random, or all if it is 0. Scenes 0-7, 8-15, ... have
    all eight dominant classes in a shuffled order. If twenty scenes were drawn independently, 40 %
    of the draws would miss a class.
    """
    scenes = []
    for index in range(count):
        block = np.random.default_rng([seed, SPLITS.index(split), index // 8, 1000])
        dominant = list(DFC_CLASSES)[block.permutation(8)[index % 8]]
        rng = np.random.default_rng([seed, SPLITS.index(split), index, 1001])
        season = SEASONS[index % 4] if split == "pretrain" else SEASONS[rng.integers(4)]
        # no acquisition with the sun below 20 degrees, and snow is not a class here
        fits = [c for c in CLIMATES[dominant] if not (c == "boreal" and season == "winter")]
        climate = fits[rng.integers(len(fits))]
        zone, latitude = REGIONS[climate][rng.integers(len(REGIONS[climate]))]
        size = kept or side**2
        numbers = tuple(sorted(rng.choice(side**2, size, replace=False).tolist()))
        place = (dominant, climate, zone, latitude, season)
        scenes.append(Scene(seed, split, index, side, patch_size, *place, numbers))
    return scenes
