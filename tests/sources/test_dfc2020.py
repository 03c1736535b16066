from pathlib import Path
from typing import Literal

import pytest

from eocontrast.errors import UserError
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.params import DFC2020Params, SimulatedParams
from eocontrast.rasters import bands_size, mask_size
from eocontrast.sources import COLUMNS, Source, simulated
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.dfc2020 import fetch

Half = Literal["validation", "test"]
TINY = SimulatedParams(
    seed=3, patch_size=16, scene_size=2, pretrain_scenes=1, train_scenes=1, test_scenes=3
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """4 patches of `validation`, 12 of `test`."""
    simulated.fetch(tmp_path, TINY, workers=1)
    return tmp_path


def read(data: Path, train: Half = "validation") -> Source:
    return fetch(Path("unused"), DFC2020Params(path=data, train=train))


@pytest.mark.parametrize(
    ("train", "counts"),
    [("validation", {"train": 4, "test": 12}), ("test", {"train": 12, "test": 4})],
)
def test_either_half_can_be_learnt_from(data: Path, train: Half, counts: dict[str, int]) -> None:
    rows = read(data, train).manifest
    check_manifest(rows)
    assert rows["split"].value_counts().to_dict() == counts
    learnt = rows[rows["split"] == "train"]
    assert set(learnt["group"]) == {f"{train}_0"}
    assert learnt["s1"].str.contains(f"ROIs0000_{train}/s1_0/").all()


def test_every_pair_is_named_where_it_lies_with_its_mask(data: Path) -> None:
    source = read(data)
    rows = source.manifest
    assert tuple(rows.columns) == COLUMNS
    assert (source.s1, source.s2) == (SENTINEL1, SENTINEL2_L1C)
    assert (source.classes, source.palette) == (DFC_CLASSES, DFC_PALETTE)
    for sensor, modality in source.modalities.items():
        assert {bands_size(path, modality) for path in rows[sensor]} == {(16, 16)}
    assert {mask_size(Path(path)) for path in rows["label"]} == {(16, 16)}
    assert {Path(path) for path in rows["label"]} == set(data.glob("ROIs0000_*/dfc_0/*.tif"))


def test_rows_come_in_the_order_in_which_people_count(data: Path) -> None:
    ids = list(read(data).manifest["id"])
    halves = ["validation"] * 4 + ["test"] * 12
    numbers = [*range(4), *range(12)]
    expected = [f"ROIs0000_{half}_0_p{n}" for half, n in zip(halves, numbers, strict=True)]
    assert ids == expected


@pytest.mark.parametrize("kind", ["s1", "s2", "dfc"])
def test_a_missing_partner_is_named(data: Path, kind: str) -> None:
    (data / f"ROIs0000_test/{kind}_0/ROIs0000_test_{kind}_0_p10.tif").unlink()
    expected = rf"{kind}_0_p10\.tif is missing, but patch ROIs0000_test_0_p10.*lack their {kind}"
    with pytest.raises(UserError, match=expected):
        read(data)


def test_a_half_that_is_not_there_is_told_with_its_page(data: Path) -> None:
    (data / "ROIs0000_test").rename(data / "dfc2020_test")
    with pytest.raises(UserError) as caught:
        read(data)
    for part in (
        "ROIs0000_test/dfc_<scene>/ROIs0000_test_dfc_<scene>_p<number>.tif",
        "ROIs0000_validation",
        "dfc2020_test",
        "sources.dfc2020.path",
        "10.21227/rha7-m332",
    ):
        assert part in str(caught.value)
