import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from in_memory import numbered, seen, seen_by, symmetries, windows
from runs import DUAL_SIMCLR, SIMCLR
from torch import Tensor

from eocontrast.modalities import SENTINEL1, Modality, Sensor
from eocontrast.patches.augment import Draws, generator, random_view
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.loop import Views, ViewSource
from eocontrast.pretraining.views import PairViews, SimCLRViews

S1 = InputSpec(SENTINEL1, (-12.0, -18.0), (3.0, 4.0), 12)
S2 = InputSpec(
    Modality(("B02", "B03", "B04"), "DN", (0.0, 10000.0)), (900.0, 800.0, 700.0), (200.0,) * 3, 12
)
SPECS: dict[Sensor, InputSpec] = {"s1": S1, "s2": S2}
NODATA = {"s1": -32768, "s2": 65535}


def textured(sensor: Sensor, size: int = 40, pixels: int = 12) -> Batch:
    """Random values around the mean of their band, a tenth of them missing."""
    draws = torch.Generator().manual_seed(1)
    spec = SPECS[sensor]
    mean, sd = (torch.tensor(v).view(1, -1, 1, 1) for v in (spec.mean, spec.sd))
    values = mean + sd * torch.randn(size, len(spec.mean), pixels, pixels, generator=draws)
    missing = torch.rand(values.shape, generator=draws) < 0.1
    stored = spec.modality.encode(values.masked_fill(missing, math.nan).numpy())
    return {sensor: torch.from_numpy(stored)}


def constant(sensor: Sensor, value: float, size: int) -> Batch:
    """Images (size, bands, 6, 6) of one value."""
    spec = SPECS[sensor]
    steps = torch.tensor(value / spec.modality.storage.step)
    return {sensor: steps.expand(size, len(spec.mean), 6, 6)}


def simclr_views(crop: int, flips: bool, min_scale: float, jitter: float) -> SimCLRViews:
    changes = {"crop": crop, "flips": flips, "min_scale": min_scale, "jitter": jitter}
    return SimCLRViews(SIMCLR.model_copy(update=changes))


def pair_views(crop: int, flips: bool, shared_crop: bool) -> PairViews:
    changes = {"crop": crop, "flips": flips, "shared_crop": shared_crop}
    return PairViews(DUAL_SIMCLR.model_copy(update=changes))


def simclr(batch: Batch, views: SimCLRViews, key: int = 0) -> Tensor:
    """What it makes of a batch of one sensor."""
    (sensor,) = batch
    inputs = {known: spec for known, spec in SPECS.items() if known == sensor}
    return seen_by(views, batch, inputs, Draws(generator(5, key)))[sensor]


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_simclr_sees_places_twice(sensor: Sensor) -> None:
    batch = textured(sensor)
    views = simclr(batch, simclr_views(8, True, 0.25, 0.5))
    bands = batch[sensor].shape[1]
    assert (views.shape, views.dtype) == ((80, bands, 8, 8), torch.float32)
    first, second = views.chunk(2)
    assert not any(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("min_scale", [0.1, 0.5, 0.9])
def test_zoom_takes_nearest_pixels(min_scale: float) -> None:
    crop, pixels = 12, 20
    image = torch.arange(pixels**2, dtype=torch.int16).view(1, 1, pixels, pixels)
    views = simclr({"s1": image.expand(300, 1, -1, -1)}, simclr_views(crop, False, min_scale, 0.0))
    sides = []
    for view in views[:, 0].int():
        ys, xs = view[:, 0] // pixels, view[0] % pixels
        assert torch.equal(view, ys[:, None] * pixels + xs)
        # nearest pixels at equal steps: none is left out, and they are used equally often
        for lines in (ys, xs):
            used = lines.unique(return_counts=True)
            assert used[0].tolist() == list(range(int(lines[0]), int(lines[-1]) + 1))
            assert used[1].max() - used[1].min() <= 1
        sides.append((int(ys[-1] - ys[0]) + 1, int(xs[-1] - xs[0]) + 1))
    rounding = 1 / crop
    shares = [height * width / crop**2 for height, width in sides]
    assert min(shares) > min_scale - 2 * rounding
    assert min(shares) < min_scale + 0.1
    assert max(shares) > 0.9
    assert max(max(height, width) for height, width in sides) <= crop
    assert any(height != width for height, width in sides)
    for height, width in sides:
        assert max(height, width) - 0.5 <= 4 / 3 * (min(height, width) + 0.5)


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_views_of_missing_pixels(sensor: Sensor) -> None:
    batch = textured(sensor)
    plain = simclr(batch, simclr_views(8, True, 0.25, 0.0)).float()
    views = simclr(batch, simclr_views(8, True, 0.25, 1.0))
    missing = plain == NODATA[sensor]
    assert missing.any()
    assert torch.equal(views == NODATA[sensor], missing)
    # an image of one value keeps one value, whatever is missing of it
    holed = constant(sensor, SPECS[sensor].mean[0], 30)[sensor].clone()
    holed[:, :, 1:4, 2] = NODATA[sensor]
    views = simclr({sensor: holed}, simclr_views(6, False, 1.0, 1.0))
    for view in views.flatten(0, 1):
        values = view[view != NODATA[sensor]]
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-4, atol=1e-2)


def test_simclr_views_of_equal_keys() -> None:
    views = simclr_views(8, True, 0.25, 0.5)
    first, again, other = (simclr(textured("s2"), views, key) for key in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("jitter", [0.3, 1.0])
def test_light_by_units(jitter: float) -> None:
    least, most = ((1 + sign * 0.8 * jitter) * (1 + sign * 0.2 * jitter) for sign in (-1, 1))
    views = simclr_views(4, True, 0.25, jitter)
    # equal statistics, so that grey is a mean of the bands' gains
    s1, s2 = replace(S1, mean=(-12.0,) * 2, sd=(3.0,) * 2), replace(S2, mean=(900.0,) * 3)
    specs: dict[Sensor, InputSpec] = {"s1": s1, "s2": s2}
    images = constant("s1", -12.0, 300) | constant("s2", 900.0, 300)

    def first_pixels(sensor: Sensor) -> Tensor:
        draws, inputs = Draws(generator(0)), {sensor: specs[sensor]}
        return seen_by(views, {sensor: images[sensor]}, inputs, draws)[sensor][..., 0, 0]

    radar, optical = first_pixels("s1"), first_pixels("s2")
    gains, offsets = optical / 900, (0.01 * radar + 12) / 10
    for factors in (gains, 10**offsets):
        assert factors.min() >= least - 1e-3
        assert factors.max() <= most + 1e-3
        assert factors.max() - factors.min() > (most - least) / 2
        # bands have gains of their own
        assert (factors.amax(1) - factors.amin(1)).max() > 0.1 * jitter


def test_view_of_twice_the_light() -> None:
    """All that is done to reflectance is linear, where the mean that grey returns to is zero."""
    spec: dict[Sensor, InputSpec] = {"s2": replace(S2, mean=(0.0,) * 3)}
    images = textured("s2")["s2"].int().clamp(1, 4000)
    views = simclr_views(8, True, 0.25, 0.8)
    one, two = (seen_by(views, {"s2": k * images}, spec, Draws(generator(0)))["s2"] for k in (1, 2))
    torch.testing.assert_close(two, 2 * one, rtol=1e-4, atol=1e-1)


def test_view_of_an_offset() -> None:
    spec: dict[Sensor, InputSpec] = {"s1": replace(S1, sd=(3.0, 3.0))}
    images = textured("s1")["s1"].int().clamp(-3000, 0)
    views = simclr_views(8, True, 0.25, 0.8)
    one, two = (
        seen_by(views, {"s1": images + k}, spec, Draws(generator(0)))["s1"] for k in (0, 500)
    )
    torch.testing.assert_close(two, one + 500, rtol=1e-4, atol=1e-1)


def test_shares_of_grey_and_blur() -> None:
    """The weakest jitter leaves the rest as it was."""
    lines = torch.arange(12)
    board = ((lines[:, None] + lines) % 2 * 200).float() + 800
    images = torch.stack([board, board.flip(1), board]).expand(500, 3, 12, 12)
    views = simclr({"s2": images}, simclr_views(12, False, 1.0, 1e-6))
    standard = (views - torch.tensor(S2.mean).view(1, 3, 1, 1)) / 200
    grey = (standard.amax(1) - standard.amin(1)).amax((1, 2)) < 1e-3
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.05)
    amplitude = views[~grey].amax((1, 2, 3)) - views[~grey].amin((1, 2, 3))
    # the narrowest blurs, of less than a quarter of a pixel, cannot be seen
    assert 0.3 < (amplitude < 199).float().mean() < 0.5
    untouched = views[~grey][amplitude > 199.99]
    torch.testing.assert_close(untouched, images[:1].expand_as(untouched), rtol=0, atol=0.1)


def test_blur_beside_missing_pixels() -> None:
    """An impulse among missing pixels, compared with the sum by hand."""
    image = torch.full((1, 1, 9, 9), 1000.0)
    image[0, 0, 4, 4], image[0, 0, 2:4, 5] = 2000.0, NODATA["s2"]
    spec: dict[Sensor, InputSpec] = {"s2": S2.select(["B02"])}
    batch = {"s2": image.expand(200, -1, -1, -1)}
    views = seen_by(simclr_views(9, False, 1.0, 1e-6), batch, spec, Draws(generator(0)))
    blurred = next(view[0] for view in views["s2"] if view[0, 4, 4] < 1500)
    places = [(y, x) for y in range(9) for x in range(9) if image[0, 0, y, x] != NODATA["s2"]]

    # the width is what makes the centre right; every other pixel must then follow
    def by_hand(y: int, x: int, width: float) -> float:
        weights = [math.exp(-((y - i) ** 2 + (x - j) ** 2) / (2 * width**2)) for i, j in places]
        values = [float(image[0, 0, i, j]) for i, j in places]
        return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)

    width = min(
        (step / 1000 for step in range(100, 1001)),
        key=lambda w: abs(by_hand(4, 4, w) - float(blurred[4, 4])),
    )
    for y, x in places:
        assert float(blurred[y, x]) == pytest.approx(by_hand(y, x, width), abs=2)


@pytest.mark.parametrize("flips", [False, True])
def test_shared_window_of_pairs(flips: bool) -> None:
    views = seen_by(pair_views(4, flips, True), numbered(), SPECS, Draws(generator(2)))
    view = random_view(64, 7, 4, flips, Draws(generator(2)))
    for sensor, images in numbered().items():
        assert torch.equal(views[sensor], seen(view, images))


def test_own_windows_of_pairs() -> None:
    """Each sensor has its own window, in the same symmetry."""
    batch = numbered()
    views = seen_by(pair_views(4, True, False), batch, SPECS, Draws(generator(0)))
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


@pytest.mark.parametrize("flips", [False, True])
def test_simclr_without_zoom_and_jitter(flips: bool) -> None:
    """Views are crops in the store's integers, of the patch of their row in either half."""
    images = numbered()["s1"]
    inputs: dict[Sensor, InputSpec] = {"s1": S1}
    views = seen_by(simclr_views(4, flips, 1.0, 0.0), {"s1": images}, inputs, Draws(generator(5)))
    assert views["s1"].dtype == torch.int16
    for image, view in zip(images.repeat(2, 1, 1, 1), views["s1"], strict=True):
        turns = symmetries if flips else lambda window: [window]
        allowed = [turned for window in windows(image, 4) for turned in turns(window)]
        assert sum(torch.equal(view, candidate) for candidate in allowed) >= 1


ALL_VIEWS: list[Views] = [
    pair_views(6, True, True),
    pair_views(6, False, False),
    simclr_views(6, True, 0.3, 0.5),
]


@pytest.mark.parametrize("views", ALL_VIEWS)
@pytest.mark.parametrize("ranks", [2, 3])
def test_views_of_ranks(tiny_store: PatchStore, views: Views, ranks: int) -> None:
    """Those of all ranks together are those of the whole batch."""
    batch, inputs = tiny_store.batch(np.arange(12)), tiny_store.specs
    whole = seen_by(views, batch, inputs, Draws(generator(7)))
    for rank in range(ranks):
        own = {sensor: bands[rank::ranks] for sensor, bands in batch.items()}
        found = seen_by(views, own, inputs, Draws(generator(7), rank, ranks))
        for sensor, expected in whole.items():
            torch.testing.assert_close(found[sensor], expected[rank::ranks])


@pytest.mark.parametrize("views", ALL_VIEWS)
def test_views_of_a_store(tiny_store: PatchStore, views: Views) -> None:
    """Windows that are read alone show what windows of whole images do."""
    rows, inputs = np.array([7, 40, 3, 40, 0]), tiny_store.specs
    found = ViewSource(views, inputs, tiny_store, 3, torch.device("cpu"))(rows, 5)
    expected = seen_by(views, tiny_store.batch(rows), inputs, Draws(generator(3, 5)))
    assert all(torch.equal(found[sensor], expected[sensor]) for sensor in expected)
