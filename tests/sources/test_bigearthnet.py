from pathlib import Path

import numpy as np
import pytest
import rasterio
from publishers import reben

from eocontrast.normalisation.shift import TOLERANCE, estimate_shift
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources import bigearthnet
from eocontrast.sources.bigearthnet import Pair, describe
from eocontrast.sources.bigearthnet_labels import CLASSES, PALETTE, level1_groups
from eocontrast.sources.catalogue import check_manifest


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Source]:
    """The real pairs, downloaded by pip: 59 MiB, once per session."""
    folder = tmp_path_factory.mktemp("bigearthnet")
    return folder, bigearthnet.fetch(folder, reben())


def test_sample_has_thirty_pairs(fetched: tuple[Path, Source]) -> None:
    folder, source = fetched
    check_manifest(source.manifest)
    main = source.manifest["label"].str.split("|").str[0]
    counts = source.manifest.groupby(["split", main]).size().to_dict()
    assert counts == {
        ("test", "Agricultural"): 5,
        ("test", "Forest and semi-natural"): 4,
        ("train", "Agricultural"): 10,
        ("train", "Forest and semi-natural"): 11,
    }
    assert {path.name for path in folder.iterdir()} == {
        "BigEarthNet-S1",
        "BigEarthNet-S2",
        "packages",
    }


def test_pairs_share_one_grid(fetched: tuple[Path, Source]) -> None:
    folder, source = fetched
    for row in source.manifest.itertuples():
        s1 = read_raster(f"{folder}/{row.s1}", source.s1).values
        s2 = read_raster(f"{folder}/{row.s2}", source.s2).values
        assert (s1.shape, s2.shape) == ((2, 120, 120), (12, 120, 120))
        assert -30 < np.nanmean(s1[1]) < np.nanmean(s1[0]) < 0  # VH below VV, in dB
        assert np.nanmin(s2) >= 0
        assert np.nanmax(s2) < 20000  # snow and cloud, some brighter than 10,000


def test_sensors_share_their_place(fetched: tuple[Path, Source]) -> None:
    folder, source = fetched
    for row in source.manifest.itertuples():
        places = set()
        for cell, bands in ((row.s1, source.s1.bands), (row.s2, source.s2.bands)):
            for band in bands:
                with rasterio.open(f"{folder}/{cell}".replace("{band}", band)) as raster:
                    places.add((raster.crs, raster.bounds))
        [(crs, bounds)] = places
        assert (bounds.right - bounds.left, bounds.top - bounds.bottom) == (1200, 1200)
        if row.group == "33UUP_87_48":  # a GeoTIFF pair: the tile's corner follows from it
            assert bounds.left - 87 * 1200 == bigearthnet._CORNERS["33UUP"][1]
            assert bounds.top + 48 * 1200 == bigearthnet._CORNERS["33UUP"][2]
            assert crs.to_epsg() == bigearthnet._CORNERS["33UUP"][0]


def test_sample_shows_no_shift(fetched: tuple[Path, Source]) -> None:
    """Snow, cloud and open sea show nothing; the other pairs are within 2 px, except one."""
    folder, source = fetched
    shifts = []
    for row in source.manifest.itertuples():
        s1, s2 = (
            read_raster(f"{folder}/{cell}", modality).values
            for cell, modality in ((row.s1, source.s1), (row.s2, source.s2))
        )
        shifts.append(estimate_shift(s1, s2))
    far = [round(max(abs(s.dy), abs(s.dx)), 1) for s in shifts if s.known]
    assert len(far) >= 15
    assert sum(shift <= TOLERANCE for shift in far) >= len(far) - 1


@pytest.mark.parametrize(("sensor", "band"), [("s1", 0), ("s2", 7)])
def test_neighbours_match_at_seams(fetched: tuple[Path, Source], sensor: str, band: int) -> None:
    """Values change less over a seam than across a patch if position and orientation are right."""
    folder, source = fetched
    modality = source.s1 if sensor == "s1" else source.s2
    values, seams, across = {}, [], []
    for row in source.manifest[source.manifest.id.str.contains("33UUP")].itertuples():
        with rasterio.open(f"{folder}/{row.s2}".replace("{band}", "B02")) as raster:
            left, top = raster.bounds.left, raster.bounds.top
        values[left, top] = read_raster(f"{folder}/{getattr(row, sensor)}", modality).values[band]
    for (left, top), here in values.items():
        below, right = values.get((left, top - 1200)), values.get((left + 1200, top))
        if below is not None:
            seams.append(np.abs(here[-1] - below[0]).mean())
            across.append(np.abs(here[0] - below[-1]).mean())
        if right is not None:
            seams.append(np.abs(here[:, -1] - right[:, 0]).mean())
            across.append(np.abs(here[:, 0] - right[:, -1]).mean())
    assert len(seams) == 19
    assert np.mean(seams) < 0.5 * np.mean(across)


def test_second_fetch_changes_nothing(
    fetched: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = fetched
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*.tif"))}
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    again = bigearthnet.fetch(folder, reben())
    assert again.manifest.equals(source.manifest)
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*.tif"))} == before


def pair(column: int, *labels: str, test: bool) -> Pair:
    return Pair(f"S1A_33UUP_{column}_0", f"S2A_{column}", labels, test)


def test_mixed_groups_are_trained_on() -> None:
    manifest = describe(
        [
            pair(0, "Pastures", test=True),
            pair(1, "Pastures", test=False),
            pair(10, "Pastures", test=True),
            pair(20, test=False),
        ]
    )
    assert manifest.split.tolist() == ["train", "train", "test", "pretrain"]
    assert manifest.label.tolist() == ["Agricultural"] * 3 + [""]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Pastures", "Coniferous forest", "Mixed forest"], "Forest and semi-natural|Agricultural"),
        (["Pastures", "Coniferous forest"], "Agricultural|Forest and semi-natural"),
        (["Inland waters", "Urban fabric"], "Artificial|Water"),
        (["Sea and ocean"], "Water"),
        # two kinds of arable land of the old nomenclature are one class of the new
        (
            ["Rice fields", "Non-irrigated arable land", "Peatbogs", "Salines"],
            "Wetlands|Agricultural",
        ),
        (["Airports", "Bare rock"], ""),
        ([], ""),
    ],
)
def test_largest_group_comes_first(labels: list[str], expected: str) -> None:
    assert level1_groups(labels) == expected


def test_unknown_label_raises() -> None:
    with pytest.raises(KeyError):
        level1_groups(["Lava"])


def test_classes_have_distinct_colours() -> None:
    assert list(PALETTE) == list(CLASSES)
    assert len(set(PALETTE.values())) == len(CLASSES)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("countries", ("Portugal",)),
        ("tiles", ("33UUP",)),
        ("flagged", "leave_out"),
        ("classes", "nineteen"),
    ],
)
def test_sample_has_no_parts(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"sources\.bigearthnet\.{field} is .* which needs reBEN"):
        bigearthnet.fetch(tmp_path, reben(**{field: value}))
