import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from in_memory import InMemory

from eocontrast.patches.augment import Draws, PairViews, generator
from eocontrast.patches.batch import StoredBatch
from eocontrast.patches.shard_files import shard_path
from eocontrast.patches.store import PatchStore
from eocontrast.patches.windows import Window
from eocontrast.pretraining.views import SimCLRViews
from eocontrast.runtime.errors import UserError

ROWS = np.array([7, 40, 3, 40, 0])
CPU = torch.device("cpu")


def window_of(side: int, most: int) -> Window:
    """Corners from one end to the other."""
    places = torch.linspace(0, most - side, len(ROWS)).long()
    return Window(places, places.flip(0), side)


def test_a_batch_tells_what_it_holds(mixed_store: PatchStore) -> None:
    patches = StoredBatch(mixed_store, ROWS, mixed_store.specs, CPU, masks=True)
    assert (patches.size, patches.side, patches.kinds) == (5, 16, ["s1", "s2", "label"])
    one = StoredBatch(mixed_store, ROWS, {"s2": mixed_store.specs["s2"]}, CPU)
    assert one.kinds == ["s2"]


@pytest.mark.parametrize("side", [1, 5, 16])
@pytest.mark.parametrize("kind", ["s1", "s2", "label"])
def test_a_window_is_the_same_as_that_part_of_whole_patches(
    mixed_store: PatchStore, kind: str, side: int
) -> None:
    patches = StoredBatch(mixed_store, ROWS, mixed_store.specs, CPU, masks=True)
    window, whole = window_of(side, 16), patches.whole()
    found = patches.read(kind, window)
    assert found.dtype == whole[kind].dtype
    assert torch.equal(found, InMemory(whole).read(kind, window))


def test_a_window_has_the_bands_that_a_model_names(tiny_store: PatchStore) -> None:
    named = tiny_store.specs["s2"].select(("B04", "B02"))
    patches = StoredBatch(tiny_store, ROWS, {"s2": named}, CPU)
    assert patches.read("s2", window_of(4, 16)).shape == (5, 2, 4, 4)
    assert torch.equal(patches.whole()["s2"], tiny_store.batch(ROWS)["s2"][:, [2, 0]])


@pytest.mark.parametrize(
    "views", [PairViews(6, True, True), PairViews(6, False, False), SimCLRViews(6, True, 0.3, 0.5)]
)
def test_views_of_a_store_are_those_of_its_images(
    tiny_store: PatchStore, views: PairViews | SimCLRViews
) -> None:
    patches = StoredBatch(tiny_store, ROWS, tiny_store.specs, CPU)
    found = views(patches, tiny_store.specs, Draws(generator(1)))
    expected = views(InMemory(patches.whole()), tiny_store.specs, Draws(generator(1)))
    assert all(torch.equal(found[sensor], expected[sensor]) for sensor in expected)


def test_damage_beside_the_window_is_noticed_the_first_time(
    tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "store")
    path = shard_path(folder, "s2", 0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last pixel of the last patch
    path.write_bytes(content)
    store = PatchStore(folder)
    last = np.array([len(store.index) - 1])
    corner = Window(torch.tensor([0]), torch.tensor([0]), 2)
    with pytest.raises(UserError, match=r"00000\.npy is damaged where patch"):
        StoredBatch(store, last, store.specs, CPU).read("s2", corner)


def test_a_store_without_masks_cannot_give_them(tiny_store: PatchStore) -> None:
    whole = StoredBatch(tiny_store, ROWS, tiny_store.specs, CPU)
    with pytest.raises(UserError, match="has no masks"):
        replace(whole, masks=True).read("label", window_of(4, 16))
