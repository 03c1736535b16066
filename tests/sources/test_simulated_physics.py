from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.labels import DFC_CLASSES
from eocontrast.sources.simulated.ground import draw_ground
from eocontrast.sources.simulated.landscape import make_landscape
from eocontrast.sources.simulated.noise import fractal, parcel_mean, smooth_noise
from eocontrast.sources.simulated.optics import FACTORS, draw_sky, illumination, sense_s2
from eocontrast.sources.simulated.radar import LOOKS, sense_s1, speckle
from eocontrast.sources.simulated.scene import Scene, plan_scenes
from eocontrast.sources.simulated.spectra import band_weights, load_library, water, wet_soil
from eocontrast.sources.simulated.surface import make_surface

B02, B03, B04, B05, B08, B09, B10, B11 = 1, 2, 3, 4, 7, 9, 10, 11

# facts: medians (dB) of VV and VH over real points by land cover
BACKSCATTER = {
    "Forest": (-8.2, -14.2),
    "Shrubland": (-9.5, -15.7),
    "Grassland": (-10.7, -17.4),
    "Croplands": (-9.9, -17.5),
    "Urban/Built-up": (-6.7, -14.9),
    "Barren": (-9.7, -16.9),
    "Water": (-19.7, -26.8),
}


class World(NamedTuple):
    """Medians by class, (scenes, 2) in dB and (scenes, 13) in DN; counts of majority classes."""

    s1: dict[str, NDArray[np.floating]]
    s2: dict[str, NDArray[np.floating]]
    majority: NDArray[np.int64]


@pytest.fixture(scope="module")
def world() -> World:
    s1: dict[str, list[NDArray[np.floating]]] = {name: [] for name in DFC_CLASSES}
    s2: dict[str, list[NDArray[np.floating]]] = {name: [] for name in DFC_CLASSES}
    majority = np.zeros(8, dtype=np.int64)
    values = np.array(list(DFC_CLASSES.values()))
    for scene in plan_scenes(0, "pretrain", 64, 4, 32):
        land, ground = make_landscape(scene), draw_ground(scene)
        surface = make_surface(scene, land, ground)
        decibel = sense_s1(scene, land, surface, ground)
        numbers = sense_s2(scene, surface.reflectance, land.slope)
        for name in DFC_CLASSES:
            mask = land.mask(name)
            if mask.mean() > 0.05:
                s1[name].append(np.median(decibel[:, mask], axis=1))
                s2[name].append(np.median(numbers[:, mask], axis=1))
        patches = land.dfc.reshape(4, 32, 4, 32).swapaxes(1, 2).reshape(16, -1)
        counts = (patches[..., None] == values).sum(axis=1)
        majority += np.bincount(counts.argmax(axis=1), minlength=8)
    return World(
        {name: np.array(rows) for name, rows in s1.items()},
        {name: np.array(rows) for name, rows in s2.items()},
        majority,
    )


def ndvi(numbers: NDArray[np.floating]) -> float:
    """Return the median over scenes."""
    return float(
        np.median((numbers[:, B08] - numbers[:, B04]) / (numbers[:, B08] + numbers[:, B04]))
    )


@pytest.mark.parametrize("name", BACKSCATTER)
def test_backscatter_matches_real_medians(world: World, name: str) -> None:
    scenes = world.s1[name]
    # three standard errors of a mean over scenes, and 0.5 dB for mixed pixels
    tolerance = 3 * scenes.std(axis=0) / np.sqrt(len(scenes)) + 0.5
    assert (np.abs(scenes.mean(axis=0) - BACKSCATTER[name]) < tolerance).all()
    assert (tolerance < 3).all()


def test_water_is_darkest(world: World) -> None:
    for name in set(DFC_CLASSES) - {"Water"}:
        assert (np.median(world.s1["Water"], 0) < np.median(world.s1[name], 0) - 3).all()
        assert np.median(world.s2["Water"], 0)[B08] < 0.5 * np.median(world.s2[name], 0)[B08]


def test_plants_show_their_red_edge(world: World) -> None:
    order = [ndvi(world.s2[name]) for name in ("Forest", "Croplands", "Barren", "Water")]
    assert order == sorted(order, reverse=True)
    assert order[0] > 0.5
    forest = np.median(world.s2["Forest"], axis=0)
    assert forest[B08] > 2 * forest[B05] > 2 * forest[B04]


def test_air_changes_blue_and_water_bands(world: World) -> None:
    lake = np.median(world.s2["Water"], axis=0)
    assert lake[0] > lake[B02] > lake[B04]
    rock = np.median(world.s2["Barren"], axis=0)
    assert 0.2 < rock[B09] / rock[8] < 0.6
    assert rock[B10] < 100
    assert rock[B11] > rock[B04]


def test_every_class_has_majorities(world: World) -> None:
    assert (world.majority / world.majority.sum() > 0.04).all()


def test_speckle_statistics() -> None:
    field = speckle(np.random.default_rng(0), (400, 400))
    assert field.mean() == pytest.approx(1, abs=0.01)
    assert 1 / field.var() == pytest.approx(LOOKS, rel=0.05)
    assert 0.1 < np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] < 0.5
    assert abs(np.corrcoef(field[:, 3:].ravel(), field[:, :-3].ravel())[0, 1]) < 0.02


def test_library_is_complete() -> None:
    library = load_library()
    assert library.bands.shape == (7261, 13)
    assert np.isfinite(library.canopy).all(axis=1).sum() == 2000
    rng = np.random.default_rng(0)
    green = library.canopies(rng, 20, (4, 8)).mean(axis=0)
    assert green[B08] > 5 * green[B04]
    assert green[B03] > green[B04]
    soil = library.draw(rng, 20, "soil").mean(axis=0)
    assert (np.diff(soil[[B02, B03, B04, B08]]) > 0).all()
    np.testing.assert_allclose(band_weights().sum(axis=0), 1)


def test_moisture_darkens_shortwave_infrared() -> None:
    soil = load_library().draw(np.random.default_rng(0), 1, "soil")
    ratio = (wet_soil(soil, 1.0) / wet_soil(soil, 0.0))[0]
    assert (ratio < 0.6).all()
    assert ratio[B11] < ratio[B04]


def test_water_colour_follows_content() -> None:
    clear = water(0.1, 0.1, 0.02, 0.0)
    green = water(20, 1, 0.2, 0.0)
    brown = water(2, 50, 1, 0.0)
    assert clear[:4].argmax() == 0
    assert green[:4].argmax() == 2
    assert brown[B04] > 3 * green[B04]
    assert (np.stack([clear, green, brown])[:, B11] < 0.002).all()


def test_noise_is_standardised() -> None:
    rng = np.random.default_rng(0)
    for field in (fractal(rng, 100, 50.0), smooth_noise(rng, 100, 2.0)):
        assert field.shape == (100, 100)
        assert field.std() == pytest.approx(1, abs=1e-3)
    parcels = np.arange(100 * 100).reshape(100, 100) // 2500
    means = parcel_mean(field, parcels)
    assert means[0, 0] == pytest.approx(field[:25].mean(), abs=1e-5)


def scene(latitude: float) -> Scene:
    return Scene(0, "test", 0, 2, 32, "Forest", "temperate", 32, latitude, "summer", (0, 1, 2, 3))


@pytest.mark.parametrize(("latitude", "sign"), [(50.0, 1), (-40.0, -1)])
def test_sunny_slopes_are_brighter(latitude: float, sign: int) -> None:
    sky = draw_sky(scene(latitude))
    slope = np.zeros((2, 8, 8), dtype=np.float32)
    np.testing.assert_allclose(illumination(slope, sky), 1)
    slope[1] = -0.2  # falls eastwards
    assert (illumination(slope, sky) > 1).all()
    slope[:] = np.array([-0.2 * sign, 0])[:, None, None]  # falls towards the noon sun
    assert (illumination(slope, sky) > 1).all()


def test_bright_point_fills_native_pixel() -> None:
    ground = np.full((13, 64, 64), 0.05, dtype=np.float32)
    ground[:, 24, 24] = 1.0
    seen = sense_s2(scene(50.0), ground, np.zeros((2, 64, 64), dtype=np.float32)).astype(float)
    for band, factor in enumerate(FACTORS):
        if band not in (B09, B10):
            excess = seen[band] - np.median(seen[band])
            assert (excess > 0.5 * excess.max()).sum() == factor**2
