import numpy as np
import pytest
import torch
from in_memory import InMemory
from torch import Tensor

from eocontrast.patches.augment import Draws, PairViews, epoch_order, generator, random_view
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.views import SimCLRViews


def symmetries(image: Tensor) -> list[Tensor]:
    """The eight flips and rotations of (bands, H, W)."""
    turned = [image.rot90(quarter, (1, 2)) for quarter in range(4)]
    return turned + [image.flip(2) for image in turned]


def numbered(size: int = 64, pixels: int = 7) -> Batch:
    """Every pixel of the batch has its own number, in both sensors up to sign and band."""
    s1 = torch.arange(size * 2 * pixels**2, dtype=torch.int16).view(size, 2, pixels, pixels)
    return {"s1": s1, "s2": (s1[:, :1] + 10).to(torch.uint16)}


def windows(image: Tensor, crop: int) -> list[Tensor]:
    places = range(image.shape[1] - crop + 1)
    return [image[:, y : y + crop, x : x + crop] for y in places for x in places]


@pytest.mark.parametrize("crop", [1, 4, 7])
def test_a_view_is_a_window_in_one_of_eight_symmetries(crop: int) -> None:
    batch = numbered()
    views = random_view(InMemory(batch), crop, True, generator(0))["s1"]
    for image, view in zip(batch["s1"], views, strict=True):
        allowed = [turned for window in windows(image, crop) for turned in symmetries(window)]
        assert sum(torch.equal(view, candidate) for candidate in allowed) >= 1


def test_every_symmetry_and_every_window_is_drawn() -> None:
    image = torch.arange(9).view(1, 3, 3)
    drawn = random_view(InMemory({"s1": image.expand(600, 1, 3, 3)}), 2, True, generator(0))["s1"]
    found = {tuple(view.flatten().tolist()) for view in drawn}
    expected = {
        tuple(turned.flatten().tolist())
        for window in windows(image, 2)
        for turned in symmetries(window)
    }
    assert found == expected


def test_windows_keep_their_orientation_without_flips() -> None:
    batch = numbered()
    views = random_view(InMemory(batch), 4, False, generator(0))["s1"]
    for image, view in zip(batch["s1"], views, strict=True):
        assert sum(torch.equal(view, window) for window in windows(image, 4)) == 1
    whole = random_view(InMemory(batch), 7, False, generator(0))
    assert torch.equal(whole["s1"], batch["s1"])


def test_both_sensors_show_the_same_window() -> None:
    views = random_view(InMemory(numbered()), 4, True, generator(1))
    assert torch.equal(views["s1"][:, :1] + 10, views["s2"].to(torch.int16))


def test_samples_have_their_own_windows() -> None:
    image = torch.arange(49).view(1, 1, 7, 7).expand(50, 1, 7, 7)
    views = random_view(InMemory({"s1": image}), 4, False, generator(0))["s1"]
    assert len({int(view[0, 0, 0]) for view in views}) > 8


def test_integers_stay_as_stored_and_channels_come_last_in_memory() -> None:
    views = random_view(InMemory(numbered()), 4, True, generator(0))
    assert {s: view.dtype for s, view in views.items()} == {"s1": torch.int16, "s2": torch.uint16}
    assert views["s1"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("flips", [False, True])
def test_a_shared_window_is_a_random_view(flips: bool) -> None:
    views = PairViews(4, flips, shared_crop=True)(InMemory(numbered()), {}, Draws(generator(2)))
    expected = random_view(InMemory(numbered()), 4, flips, generator(2))
    assert all(torch.equal(views[sensor], expected[sensor]) for sensor in expected)


def test_each_sensor_may_have_its_own_window_in_the_same_symmetry() -> None:
    batch = numbered()
    views = PairViews(4, True, shared_crop=False)(InMemory(batch), {}, Draws(generator(0)))
    apart = 0
    for image1, image2, view1, view2 in zip(*batch.values(), *views.values(), strict=True):
        turns = [
            {
                turn
                for window in windows(image.int(), 4)
                for turn, turned in enumerate(symmetries(window))
                if torch.equal(turned, view.int())
            }
            for image, view in ((image1, view1), (image2, view2))
        ]
        assert turns[0] == turns[1]
        assert len(turns[0]) == 1
        apart += not torch.equal(view1[:1] + 10, view2.to(torch.int16))
    assert apart > len(batch["s1"]) / 2


def test_views_are_a_function_of_the_key() -> None:
    first, again, other = (
        random_view(InMemory(numbered()), 4, True, generator(3, k)) for k in (1, 1, 2)
    )
    assert torch.equal(first["s1"], again["s1"])
    assert not torch.equal(first["s1"], other["s1"])


def test_keys_are_unrelated() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1), (0, 0, 0), (2**31 - 1, 5)]
    drawn = {int(torch.randint(2**62, (1,), generator=generator(*key))) for key in keys}
    assert len(drawn) == len(keys)
    grid = {generator(seed, step).initial_seed() for seed in range(30) for step in range(100)}
    assert len(grid) == 3000


def test_an_epoch_visits_every_sample_once_in_its_own_order() -> None:
    orders = [epoch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(50, 1, 1).tolist() == orders[3]


@pytest.mark.parametrize("flips", [False, True])
def test_without_zoom_and_jitter_simclr_views_are_crops(flips: bool) -> None:
    """Of the place of their row, in either half, in the store's integers."""
    batch = {"s1": numbered()["s1"]}
    views = SimCLRViews(4, flips, 1.0, 0.0)(InMemory(batch), {}, Draws(generator(5, 0)))["s1"]
    assert views.dtype == torch.int16
    for image, view in zip(batch["s1"].repeat(2, 1, 1, 1), views, strict=True):
        turns = symmetries if flips else lambda window: [window]
        allowed = [turned for window in windows(image, 4) for turned in turns(window)]
        assert sum(torch.equal(view, candidate) for candidate in allowed) >= 1


@pytest.mark.parametrize("views", [PairViews(4, True, False), SimCLRViews(4, True, 0.5, 0.5)])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_views_of_ranks_are_those_of_the_whole_batch(
    tiny_store: PatchStore, views: PairViews | SimCLRViews, ranks: int
) -> None:
    batch, inputs = tiny_store.batch(np.arange(12)), tiny_store.specs
    whole = views(InMemory(batch), inputs, Draws(generator(7)))
    for rank in range(ranks):
        own = {sensor: bands[rank::ranks] for sensor, bands in batch.items()}
        found = views(InMemory(own), inputs, Draws(generator(7), rank, ranks))
        for sensor, expected in whole.items():
            torch.testing.assert_close(found[sensor], expected[rank::ranks])
