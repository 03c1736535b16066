import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from eocontrast.normalisation.places import audit_places, audit_sizes
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.read import Raster

UTM32, UTM33 = CRS.from_epsg(32632), CRS.from_epsg(32633)
NOWHERE = Grid(None, Affine.identity(), 64, 64)


def place(x: float = 0, crs: CRS | None = UTM32, pixel: float = 10, side: int = 640) -> Grid:
    pixels = int(side / pixel)
    return Grid(crs, Affine(pixel, 0, 600000 + x, 0, -pixel, 5300000), pixels, pixels)


def rasters(**grids: list[Grid]) -> dict[str, Raster]:
    return {name: Raster(np.zeros(0), tuple(places)) for name, places in grids.items()}


def test_rasters_of_one_place_agree() -> None:
    places = rasters(s1=[place()], s2=[place(), place(pixel=20)], label=[place(crs=None)])
    assert audit_places("a", places) == []


def test_what_names_no_place_agrees_with_all() -> None:
    assert audit_places("a", rasters(s1=[NOWHERE], s2=[place()], label=[NOWHERE])) == []
    assert audit_places("a", {}) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (place(x=10), "is shifted by 1 px east against s1"),
        (place(side=320), "covers 320 x 320 units of ground, unlike 640 x 640 of s1"),
        (place(crs=UTM33), "is in EPSG:32633, unlike EPSG:32632 of s1"),
    ],
)
def test_another_place_is_named(other: Grid, said: str) -> None:
    (finding,) = audit_places("a", rasters(s1=[place()], s2=[other, other]), "error")
    assert (finding.id, finding.rule, finding.severity) == ("a", "georeference", "error")
    assert finding.message.startswith("s2 ")
    assert said in finding.message


@pytest.mark.parametrize(("metres", "findings"), [(4, 0), (6, 1)])
def test_less_than_half_a_pixel_is_rounding(metres: float, findings: int) -> None:
    assert len(audit_places("a", rasters(s1=[place()], label=[place(x=metres)]))) == findings


def test_sizes_are_compared_with_s2_where_it_could_be_read() -> None:
    (finding,) = audit_sizes("a", {"s1": (8, 8), "s2": (8, 8), "label": (8, 9)})
    assert (finding.rule, finding.severity) == ("size", "error")
    assert "label has 8 x 9 pixels, s2 8 x 8" in finding.message
    assert "s1 4 x 4" in audit_sizes("a", {"s1": (4, 4), "label": (8, 8)})[0].message
    assert audit_sizes("a", {"label": (8, 8)}) == audit_sizes("a", {}) == []
