import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eocontrast.modalities import SENSORS
from eocontrast.patches.shard_files import shard_path
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError


def test_rows_come_in_the_order_asked_for(tiny_store: PatchStore) -> None:
    rows = np.array([70, 3, 3, 15])
    whole = np.load(shard_path(tiny_store.folder, "s2", 0))
    np.testing.assert_array_equal(tiny_store.read("s2", rows), whole[rows])


def test_a_batch_holds_the_stored_integers(tiny_store: PatchStore) -> None:
    batch = tiny_store.batch(np.array([5, 1]))
    assert {s: (tuple(t.shape), t.dtype) for s, t in batch.items()} == {
        "s1": ((2, 2, 16, 16), torch.int16),
        "s2": ((2, 4, 16, 16), torch.uint16),
    }


def test_a_model_gets_the_bands_that_it_names(tiny_store: PatchStore) -> None:
    rows = np.array([3, 0])
    rgb = tiny_store.specs["s2"].select(("B04", "B02"))
    batch = tiny_store.batch(rows, {"s2": rgb})
    assert list(batch) == ["s2"]
    np.testing.assert_array_equal(batch["s2"].numpy(), tiny_store.read("s2", rows)[:, [2, 0]])


def test_a_model_for_other_bands_or_units_is_refused(tiny_store: PatchStore) -> None:
    spec = tiny_store.specs["s2"]
    swir = replace(spec, modality=replace(spec.modality, bands=("B02", "B03", "B04", "B11")))
    with pytest.raises(UserError, match="the data lack B11; they have B02, B03, B04, B08"):
        tiny_store.batch(np.array([0]), {"s2": swir})
    with pytest.raises(UserError, match="expect dB, but the data are DN"):
        tiny_store.batch(np.array([0]), {"s2": tiny_store.specs["s1"]})


def test_a_batch_may_be_written_to_without_touching_the_store(tiny_store: PatchStore) -> None:
    batch = tiny_store.batch(np.arange(3))
    before = tiny_store.read("s1", np.arange(3))
    batch["s1"].fill_(0)
    np.testing.assert_array_equal(tiny_store.read("s1", np.arange(3)), before)


def test_splits_partition_the_rows(tiny_store: PatchStore) -> None:
    sizes = {split: len(tiny_store.rows(split)) for split in ("pretrain", "train", "test")}
    assert sizes == {"pretrain": 12, "train": 42, "test": 18}
    both = tiny_store.rows("pretrain", "train")
    assert sorted(set(both) | set(tiny_store.rows("test"))) == list(range(72))
    assert not set(both) & set(tiny_store.rows("test"))


def test_only_rows_with_a_class_are_labelled(tiny_store: PatchStore) -> None:
    assert len(tiny_store.labelled("pretrain")) == 0
    assert (tiny_store.labels[tiny_store.labelled("train")] >= 0).all()
    assert len(tiny_store.labelled("train")) == 42


@pytest.mark.parametrize("name", ["stats.json", "index.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_store_that_is_not_complete_says_what_to_run(
    tiny_folder: Path, tmp_path: Path, name: str, damage: str
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "store")
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "truncated":
        (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"store is no complete patch store.*dvc repro"):
        PatchStore(folder)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_damaged_shard_is_named(tiny_folder: Path, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "store")
    shard = shard_path(folder, "s2", 0)
    content = shard.read_bytes()
    shard.unlink()
    if damage == "truncated":
        shard.write_bytes(content[:-100])
    if damage == "foreign":
        shard.write_bytes(b"not an array" * 50)
    store = PatchStore(folder)
    store.read("s1", np.arange(4))
    with pytest.raises(UserError, match=r"s2/00000\.npy"):
        store.read("s2", np.arange(4))


def test_a_store_is_read_through_memory_maps(tiny_store: PatchStore) -> None:
    for sensor in SENSORS:
        mapped = tiny_store._open(sensor, 0)
        assert not mapped.flags.owndata
        assert not mapped.flags.writeable


def test_a_pickle_names_the_folder_that_was_opened(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_folder.parent)
    store = PatchStore(Path(tiny_folder.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickle.dumps(store)).folder == tiny_folder
