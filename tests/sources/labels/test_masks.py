from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine
from raster_files import write_raster
from rasterio.crs import CRS
from rasterio.warp import reproject, transform_bounds

from eocontrast.config.labels import LabelsParams
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.rasters.masks import read_mask_raster
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.contents import contents
from eocontrast.sources.labels.masks import place_labels

UTM = CRS.from_epsg(32632)
SIDE = 8
LEFT, TOP = 500_000, 5_200_000
ONE_BAND = Modality(("B04",), "DN", (0.0, 10000.0))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Four patches of 8 x 8 pixels of 10 m side by side; the first two form a group."""
    rows = []
    for number in range(4):
        place = Affine(10, 0, LEFT + 10 * SIDE * number, 0, -10, TOP)
        path = tmp_path / f"s2_{number}.tif"
        write_raster(path, np.ones((1, SIDE, SIDE), np.uint16), crs=UTM, transform=place)
        rows.append((f"p{number}", "s1.tif", str(path), "", f"g{number // 2}", ""))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    return Source(SENTINEL1, ONE_BAND, {}, {}, manifest)


def cell(left: float, top: float, width: float = 1, height: float = 1) -> shapely.Polygon:
    """Return a rectangle in pixels from the upper left corner of the first patch."""
    x, y = LEFT + 10 * left, TOP - 10 * top
    return shapely.box(x, y - 10 * height, x + 10 * width, y)


FIELDS = [cell(1, 1, 3, 2), cell(9, 2, 2, 2), cell(17, 0, 4, 8), cell(25, 1, 2, 2)]
CROPS = ["wheat", "maize", "wheat", "maize"]


def fields(
    path: Path, shapes: object = None, crs: object = UTM, **columns: Sequence[object]
) -> Path:
    held: dict[str, Sequence[object]] = columns or {"crop": list(CROPS)}
    frame = geopandas.GeoDataFrame(held, geometry=shapes or FIELDS, crs=crs)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


def labelled(source: Source, path: Path, column: str = "crop") -> Source:
    return place_labels(source, path.parent, LabelsParams(path=path, class_column=column))


def masks(source: Source, folder: Path) -> list[np.ndarray]:
    empty = np.full((SIDE, SIDE), -1)
    return [
        read_mask_raster(folder / name).values[0].astype(int) if name else empty
        for name in source.manifest.label
    ]


@pytest.mark.parametrize("name", ["f.gpkg", "f.geojson", "f.shp", "f.parquet"])
def test_polygons_label_pixel_centres(source: Source, tmp_path: Path, name: str) -> None:
    crs = 4326 if name == "f.geojson" else UTM
    frame = geopandas.GeoDataFrame({"crop": CROPS}, geometry=FIELDS, crs=UTM).to_crs(crs)
    done = labelled(source, fields(tmp_path / name, list(frame.geometry), crs))
    assert done.classes == {"maize": 1, "wheat": 2}
    first, second, third, fourth = masks(done, tmp_path)
    expected = np.full((SIDE, SIDE), -1)
    expected[1:3, 1:4] = 2
    np.testing.assert_array_equal(first, expected)
    assert (second == 1).sum() == 4
    assert (third == 2).sum() == 32
    assert (fourth[1:3, 1:3] == 1).all()
    assert (done.manifest.s2 == source.manifest.s2).all()


def test_polygon_between_centres_labels_nothing(source: Source, tmp_path: Path) -> None:
    shapes = [*FIELDS, cell(4.6, 4.6, 0.8, 0.8)]
    crops: list[str] = [*CROPS, "rye"]
    done = labelled(source, fields(tmp_path / "f.gpkg", shapes, crop=crops))
    assert done.classes == {"maize": 1, "rye": 2, "wheat": 3}
    assert not any((mask == 2).any() for mask in masks(done, tmp_path))


def test_polygon_labels_one_group(
    source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # two columns of the second patch, three of the third, which is in the other group
    shapes = [cell(1, 1), cell(14, 3, 5, 2)]
    done = labelled(source, fields(tmp_path / "f.gpkg", shapes, crop=["wheat", "maize"]))
    assert done.manifest.label.tolist() == ["labels/p0.tif", "", "labels/p2.tif", ""]
    assert (masks(done, tmp_path)[2] == 1).sum() == 6
    assert "1 of them cross groups" in capsys.readouterr().out


def test_polygon_crosses_patches_of_group(source: Source, tmp_path: Path) -> None:
    shapes = [cell(1, 1), cell(6, 3, 5, 2)]
    done = labelled(source, fields(tmp_path / "f.gpkg", shapes, crop=["wheat", "maize"]))
    counts = [(mask == 1).sum() for mask in masks(done, tmp_path)]
    assert counts == [4, 6, 0, 0]


@pytest.mark.parametrize("column", ["colour", "fill"])
def test_polygons_give_colours(source: Source, tmp_path: Path, column: str) -> None:
    # red is no #rrggbb
    stated = ["#112233", "#445566", "#112233", "red"]
    path = fields(tmp_path / "f.gpkg", crop=CROPS, **{column: stated})
    assert labelled(source, path).palette["wheat"] == "#112233"
    assert labelled(source, path).palette["maize"] == "#445566"
    stated[3] = "#778899"
    fields(path, crop=CROPS, **{column: stated})
    assert labelled(source, path).palette["maize"] not in stated


def test_disputed_pixels_are_ignored(source: Source, tmp_path: Path) -> None:
    shapes = [cell(0, 0, 4, 4), cell(2, 0, 4, 4), cell(9, 0), cell(4, 0, 4, 4)]
    crops: list[str] = ["wheat", "maize", "wheat", "maize"]
    first, *_ = masks(labelled(source, fields(tmp_path / "f.gpkg", shapes, crop=crops)), tmp_path)
    assert (first[:4, :2] == 2).all()
    assert (first[:4, 2:4] == -1).all()
    assert (first[:4, 4:] == 1).all()


def test_points_label_their_pixel(source: Source, tmp_path: Path) -> None:
    points = [shapely.Point(LEFT + 10 * c + 5, TOP - 10 * r - 5) for c, r in ((0, 0), (20, 7))]
    both = shapely.MultiPoint([(LEFT + 35, TOP - 5), (LEFT + 45, TOP - 5)])
    shapes, names = [*points, both], ["1", "2", "1"]
    first, *_, third, _ = masks(
        labelled(source, fields(tmp_path / "f.gpkg", shapes, crop=names)), tmp_path
    )
    assert np.argwhere(first == 1).tolist() == [[0, 0], [0, 3], [0, 4]]
    assert np.argwhere(third == 2).tolist() == [[7, 4]]


def test_numbers_become_ordered_names(source: Source, tmp_path: Path) -> None:
    codes: list[object] = [10.0, 9.0, None, 9.0]
    done = labelled(source, fields(tmp_path / "f.gpkg", crop=codes))
    assert list(done.classes) == ["9", "10"]


def test_stated_classes_keep_values(source: Source, tmp_path: Path) -> None:
    stated = replace(source, classes={"wheat": 0, "maize": 7})
    done = labelled(stated, fields(tmp_path / "f.gpkg"))
    assert done.classes == {"wheat": 0, "maize": 7}
    assert set(np.unique(masks(done, tmp_path))) == {-1, 0, 7}


def test_changed_masks_change_contents(source: Source, tmp_path: Path) -> None:
    write_raster(tmp_path / "s1.tif", np.ones((2, SIDE, SIDE), np.float32))
    absolute = source.manifest.assign(s1=str(tmp_path / "s1.tif"))
    source = replace(source, manifest=absolute)
    before = contents(labelled(source, fields(tmp_path / "f.gpkg")), tmp_path)
    moved = [cell(1, 3, 3, 2), *FIELDS[1:]]
    after = contents(labelled(source, fields(tmp_path / "f.gpkg", moved)), tmp_path)
    assert (before.md5[:1] != after.md5[:1]).all()
    assert (before.md5[1:] == after.md5[1:]).all()


def test_file_without_features_labels_nothing(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "labels.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    assert labelled(source, path) is source


def label_raster(path: Path, pixel: float, epsg: int = 32632) -> Path:
    """Write values 5 left of the third patch and 6 from there, from 200 m around the patches."""
    west = LEFT - 200.0
    size = int(800 / pixel)
    columns = west + pixel * (np.arange(size) + 0.5)
    values = np.where(columns < LEFT + 10 * SIDE * 2, 5, 6).astype(np.uint8)
    place = Affine(pixel, 0, west, 0, -pixel, TOP + 200)
    bands = np.broadcast_to(values, (1, size, size))
    return write_raster(path, bands, crs=CRS.from_epsg(epsg), transform=place)


@pytest.mark.parametrize("pixel", [5, 10, 20])
def test_label_raster_of_any_resolution(source: Source, tmp_path: Path, pixel: float) -> None:
    stated = replace(source, classes={"left": 5, "right": 6})
    done = labelled(stated, label_raster(tmp_path / "l.tif", pixel))
    assert [np.unique(mask).tolist() for mask in masks(done, tmp_path)] == [[5], [5], [6], [6]]


def test_label_raster_of_other_crs(source: Source, tmp_path: Path) -> None:
    stated = replace(source, classes={"left": 5, "right": 6})
    utm = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(utm) as raster:
        west, south, east, north = transform_bounds(UTM, "EPSG:4326", *raster.bounds)
        values = np.zeros((1, 80, 80), np.uint8)
        place = Affine((east - west) / 80, 0, west, 0, (south - north) / 80, north)
        reproject(
            raster.read(), values, src_transform=raster.transform, src_crs=UTM,
            dst_transform=place, dst_crs="EPSG:4326",
        )  # fmt: skip
    path = write_raster(
        tmp_path / "g.tif", values, crs=CRS.from_epsg(4326), transform=place, nodata=0
    )
    done = labelled(stated, path)
    near = np.abs(np.array(masks(done, tmp_path)) - np.array([5, 5, 6, 6])[:, None, None])
    # a pixel of two warps may move by one along the border of the classes
    assert (near[:, :, 1:-1] == 0).all()


def test_label_raster_gives_colours(source: Source, tmp_path: Path) -> None:
    path = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {5: (1, 2, 3, 255), 6: (255, 0, 9, 255)})
    done = labelled(replace(source, classes={"left": 5, "right": 6}), path)
    assert done.palette == {"left": "#010203", "right": "#ff0009"}


FAULTS = {
    "colours": "holds a colour picture",
    "bands": "holds 2 bands",
    "nodata": "declares 5 as no data, but 5 is a class",
    "scale": "declares scale 2",
    "lossy": "JPEG compression changes class values",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_label_raster_follows_the_rules_of_masks(
    source: Source, tmp_path: Path, fault: str
) -> None:
    stated = replace(source, classes={"left": 5, "right": 6})
    path = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(path) as raster:
        form, values = raster.profile, raster.read()
    count = {"colours": 3, "bands": 2}.get(fault, 1)
    form |= {"count": count} | ({"photometric": "RGB"} if fault == "colours" else {})
    form |= {"nodata": 5} if fault == "nodata" else {}
    form |= {"compress": "JPEG"} if fault == "lossy" else {}
    with rasterio.open(path, "w", **form) as raster:
        raster.write(values.repeat(count, 0))
        if fault == "scale":
            raster.scales = (2.0,)
    with refused(FAULTS[fault]):
        labelled(stated, path)


@pytest.mark.parametrize("kind", ["mask", "nodata"])
def test_void_of_a_label_raster(source: Source, tmp_path: Path, kind: str) -> None:
    path = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(path, "r+") as raster:
        values = raster.read()
        void = np.arange(values.shape[1]) % 2 == 0
        values[:, void] = 6
        raster.write(values if kind == "mask" else np.where(void[:, None], 7, values))
        if kind == "nodata":
            raster.nodata = 7
        else:
            valid = np.broadcast_to(~void[:, None], values.shape[1:])
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
                raster.write_mask(valid)
    done = labelled(replace(source, classes={"left": 5, "right": 6}), path)
    for mask, value in zip(masks(done, tmp_path), (5, 5, 6, 6), strict=True):
        assert np.unique(mask).tolist() == [-1, value]
        assert (mask == -1).mean() == 0.5


def test_values_without_class_stay_in_the_masks(source: Source, tmp_path: Path) -> None:
    """The audit lists them, as those of the user's own masks."""
    path = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(path, "r+") as raster:
        values = raster.read()
        values[:, ::2] = 80
        raster.write(values)
    done = labelled(replace(source, classes={"left": 5, "right": 6}), path)
    assert [np.unique(mask).tolist() for mask in masks(done, tmp_path)] == [
        [5, 80], [5, 80], [6, 80], [6, 80],
    ]  # fmt: skip


def test_label_raster_of_a_product(source: Source, tmp_path: Path) -> None:
    path = label_raster(tmp_path / "l.tif", 10)
    with rasterio.open(path, "r+") as raster:
        values = raster.read()
        raster.write(np.where(values == 5, 10, 80).astype(values.dtype))
    with refused(r"labels of no class alone \(beside .* 10, 80; they look like ESA WorldCover\)"):
        labelled(replace(source, classes={"left": 5, "right": 6}), path)


@contextmanager
def refused(message: str) -> Iterator[None]:
    with pytest.raises(UserError, match=message):
        yield


def test_missing_column_shows_columns(source: Source, tmp_path: Path) -> None:
    path = fields(tmp_path / "f.gpkg", crop=list(CROPS), owner=list("abcd"))
    with refused("no column 'class'; its columns are: crop, owner"):
        labelled(source, path, "class")


@pytest.mark.parametrize("name", ["f.gpkg", "f.shp", "f.parquet"])
def test_missing_crs_is_named(source: Source, tmp_path: Path, name: str) -> None:
    with nullcontext() if name == "f.parquet" else pytest.warns(UserWarning, match="crs"):
        path = fields(tmp_path / name, crs=None)
    with refused("does not say its coordinate reference"):
        labelled(source, path)


def test_labels_elsewhere_are_named(source: Source, tmp_path: Path) -> None:
    away = [shapely.affinity.translate(shape, 90_000, 0) for shape in FIELDS]
    with refused(r"labels no pixel of any patch: it spans 590010, .* first patch 500000"):
        labelled(source, fields(tmp_path / "f.gpkg", away))


def test_one_class_is_refused(source: Source, tmp_path: Path) -> None:
    with refused("column crop holds one class, rye; expected two or more"):
        labelled(source, fields(tmp_path / "f.gpkg", crop=["rye"] * 4))


def test_one_class_in_patches_is_refused(source: Source, tmp_path: Path) -> None:
    shapes = [*FIELDS[:1], *(cell(100 + n, 0) for n in range(3))]
    with refused("labels of wheat alone; expected two"):
        labelled(source, fields(tmp_path / "f.gpkg", shapes))


def test_mixed_geometry_is_refused(source: Source, tmp_path: Path) -> None:
    shapes = [*FIELDS[:3], FIELDS[3].centroid]
    with refused("points and polygons; expected polygons alone or points alone"):
        labelled(source, fields(tmp_path / "f.geojson", shapes, crs=UTM))


def test_unknown_class_is_named(source: Source, tmp_path: Path) -> None:
    stated = replace(source, classes={"wheat": 1, "rye": 2})
    with refused(r"holds maize, which `classes` does not name \(wheat, rye\)"):
        labelled(stated, fields(tmp_path / "f.gpkg"))


def test_two_label_columns_are_refused(source: Source, tmp_path: Path) -> None:
    manifest = source.manifest.assign(label=["", "wheat", "", ""])
    with refused("1 patches, such as p1, have a label in the manifest"):
        labelled(replace(source, manifest=manifest), fields(tmp_path / "f.gpkg"))


def test_patch_without_place_is_named(source: Source, tmp_path: Path) -> None:
    write_raster(Path(source.manifest.s2[1]), np.ones((1, SIDE, SIDE), np.uint16))
    with refused("s2_1.tif does not say where it lies"):
        labelled(source, fields(tmp_path / "f.gpkg"))


def test_several_layers_are_named(source: Source, tmp_path: Path) -> None:
    path = fields(tmp_path / "f.gpkg")
    frame = geopandas.GeoDataFrame({"crop": CROPS}, geometry=FIELDS, crs=UTM)
    frame.to_file(path, layer="second")
    with refused(r"has 2 layers \(f, second\)"):
        labelled(source, path)


@pytest.mark.parametrize("name", ["f.gpkg", "f.shp", "f.geojson", "f.parquet", "f.kml", "l.tif"])
def test_foreign_file_is_refused(source: Source, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<OGRVRTDataSource/>")
    with refused(f"{name}"):
        labelled(source, tmp_path / name)


def test_raster_without_class_names(source: Source, tmp_path: Path) -> None:
    with refused("class values without names"):
        labelled(source, label_raster(tmp_path / "l.tif", 10))


def test_raster_elsewhere_is_named(source: Source, tmp_path: Path) -> None:
    with refused("labels of no class alone"):
        labelled(
            replace(source, classes={"a": 5, "b": 6}), label_raster(tmp_path / "l.tif", 10, 32631)
        )


def test_patches_number_their_polygons(source: Source, tmp_path: Path) -> None:
    # the first one reaches over both patches of a group, the third over two groups
    shapes = [cell(6, 1, 4, 2), cell(1, 5, 2, 2), cell(12, 1, 5, 2), cell(25, 1, 2, 2)]
    found = labelled(source, fields(tmp_path / "f.gpkg", shapes))
    assert list(found.manifest.shapes) == ["0 1", "0 2", "", "3"]
    sides = found.manifest.groupby("group").shapes.agg(" ".join).str.split().map(set)
    assert not sides["g0"] & sides["g1"]


def test_label_raster_has_no_shapes(source: Source, tmp_path: Path) -> None:
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    values = np.tile([[[1, 2]]], (1, SIDE, 2 * SIDE)).astype(np.uint8)
    path = write_raster(tmp_path / "labels.tif", values, crs=UTM, transform=place)
    found = labelled(replace(source, classes={"a": 1, "b": 2}), path)
    assert "shapes" not in found.manifest
