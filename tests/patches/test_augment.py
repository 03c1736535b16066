import numpy as np
import pytest
import torch
from in_memory import cut, numbered, seen, symmetries, windows

from eocontrast.patches.augment import Draws, epoch_order, generator, random_view
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.patches.windows import Window


def drawn(batch: Batch, crop: int, flips: bool, *key: int) -> Batch:
    """The same random view of every sensor."""
    size, _, side, _ = batch["s1"].shape
    view = random_view(size, side, crop, flips, Draws(generator(*key)))
    return {sensor: seen(view, images) for sensor, images in batch.items()}


@pytest.mark.parametrize("crop", [1, 4, 7])
def test_view_is_a_symmetry(crop: int) -> None:
    batch = numbered()
    views = drawn(batch, crop, True, 0)["s1"]
    for image, view in zip(batch["s1"], views, strict=True):
        allowed = [turned for window in windows(image, crop) for turned in symmetries(window)]
        assert sum(torch.equal(view, candidate) for candidate in allowed) >= 1


def test_every_view_is_drawn() -> None:
    image = torch.arange(9).view(1, 3, 3)
    views = drawn({"s1": image.expand(600, 1, 3, 3)}, 2, True, 0)["s1"]
    found = {tuple(view.flatten().tolist()) for view in views}
    expected = {
        tuple(turned.flatten().tolist())
        for window in windows(image, 2)
        for turned in symmetries(window)
    }
    assert found == expected


def test_orientation_without_flips() -> None:
    batch = numbered()
    views = drawn(batch, 4, False, 0)["s1"]
    for image, view in zip(batch["s1"], views, strict=True):
        assert sum(torch.equal(view, window) for window in windows(image, 4)) == 1
    whole = drawn(batch, 7, False, 0)
    assert torch.equal(whole["s1"], batch["s1"])


def test_sensors_share_the_window() -> None:
    views = drawn(numbered(), 4, True, 1)
    assert torch.equal(views["s1"][:, :1] + 10, views["s2"].to(torch.int16))


def test_samples_have_own_windows() -> None:
    image = torch.arange(49).view(1, 1, 7, 7).expand(50, 1, 7, 7)
    views = drawn({"s1": image}, 4, False, 0)["s1"]
    assert len({int(view[0, 0, 0]) for view in views}) > 8


def test_memory_format_of_views() -> None:
    views = drawn(numbered(), 4, True, 0)
    assert {s: view.dtype for s, view in views.items()} == {"s1": torch.int16, "s2": torch.uint16}
    assert views["s1"].is_contiguous(memory_format=torch.channels_last)


def test_views_of_equal_keys() -> None:
    first, again, other = (drawn(numbered(), 4, True, 3, k) for k in (1, 1, 2))
    assert torch.equal(first["s1"], again["s1"])
    assert not torch.equal(first["s1"], other["s1"])


def test_generators_of_different_keys() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0), (2**31 - 1, 5)]
    drawn = {int(torch.randint(2**62, (1,), generator=generator(*key))) for key in keys}
    assert len(drawn) == len(keys)
    grid = {generator(seed, step).initial_seed() for seed in range(30) for step in range(100)}
    assert len(grid) == 3000


def test_order_of_an_epoch() -> None:
    orders = [epoch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(50, 1, 1).tolist() == orders[3]


ROWS = np.array([7, 40, 3, 40, 0])


@pytest.mark.parametrize("side", [1, 5, 16])
def test_windows_are_parts_of_patches(mixed_store: PatchStore, side: int) -> None:
    corners = torch.linspace(0, 16 - side, len(ROWS)).long()
    window = Window(corners, corners.flip(0), side)
    specs = mixed_store.specs
    found = mixed_store.batch(ROWS, specs, window, masks=True)
    for kind, images in mixed_store.batch(ROWS, specs, masks=True).items():
        assert found[kind].dtype == images.dtype
        assert torch.equal(found[kind], cut(images, window))


def test_windows_have_the_named_bands(tiny_store: PatchStore) -> None:
    named = tiny_store.specs["s2"].select(("B04", "B02"))
    window = Window(torch.zeros(5).long(), torch.ones(5).long(), 4)
    found = tiny_store.batch(ROWS, {"s2": named}, window)["s2"]
    assert torch.equal(found, tiny_store.batch(ROWS)["s2"][:, [2, 0], :4, 1:5])
