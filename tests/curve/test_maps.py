from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from eocontrast.config.arms import Arm
from eocontrast.curve.maps import (
    column_title,
    draw_qualitative,
    false_colour,
    painted,
    true_colour,
    write_maps,
)
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.qualitative import class_maps, varied_patches
from eocontrast.models.fusion import Head
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]
SHARES = ["share_0", "share_1", "share_2"]


# --- which patches


def test_the_most_mixed_patch_of_every_group_comes_first(mixed_store: PatchStore) -> None:
    rows = mixed_store.labelled("test")
    mixed_store.index.loc[rows, SHARES] = [1.0, 0.0, 0.0]
    wanted = [rows[7], rows[1], rows[14]]  # of the second, first and third group
    thirds, halves = [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0]
    mixed_store.index.loc[wanted, SHARES] = [thirds, halves, [0.9, 0.1, 0.0]]
    mixed_store.index.loc[rows[8], SHARES] = halves  # has a better neighbour
    assert varied_patches(mixed_store, 3).tolist() == wanted
    assert varied_patches(mixed_store, 2).tolist() == wanted[:2]


def test_chosen_patches_are_test_patches_of_distinct_groups(mixed_store: PatchStore) -> None:
    chosen = varied_patches(mixed_store, 5)
    assert set(chosen) <= set(mixed_store.labelled("test"))
    groups = mixed_store.groups[chosen].tolist()
    assert len(set(groups)) == len(groups) == 3  # there are no more
    assert chosen.tolist() == varied_patches(mixed_store, 5).tolist()


def test_without_masks_there_is_nothing_to_draw(tiny_store: PatchStore) -> None:
    with pytest.raises(UserError, match="no masks in the split test"):
        varied_patches(tiny_store, 3)


def test_without_test_patches_there_is_nothing_to_draw(mixed_store: PatchStore) -> None:
    mixed_store.index["split"] = "train"
    with pytest.raises(UserError, match="no masks in the split test"):
        varied_patches(mixed_store, 3)


# --- what is painted


def test_classes_have_the_colours_of_the_palette_and_ignored_pixels_are_white(
    mixed_store: PatchStore,
) -> None:
    image = painted(np.array([[[0, 1], [2, 255]]]), mixed_store)
    assert image.shape == (1, 2, 2, 3)
    as_bytes = np.rint(image * 255).astype(int)[0]
    assert as_bytes[0].tolist() == [[0x00, 0x99, 0x00], [0xA5, 0xA5, 0xA5]]
    assert as_bytes[1].tolist() == [[0x1C, 0x0D, 0xFF], [255, 255, 255]]


def test_masks_are_painted_as_they_are_stored(mixed_store: PatchStore) -> None:
    """Indices of small integers, as the store has them."""
    masks = mixed_store.masks(np.array([2]))[:, 0].numpy()
    assert masks.dtype == np.uint8
    image = painted(masks, mixed_store)
    assert image[0, -1, -1].tolist() == [1, 1, 1]
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == len(np.unique(masks))


def stretched(band: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values of one patch between their 2nd and 98th percentile."""
    low, high = np.percentile(band, [2, 98])
    scaled: NDArray[np.floating] = np.clip((band - low) / (high - low), 0, 1)
    return scaled


@pytest.mark.parametrize(
    ("names", "shown"),
    [(("B02", "B03", "B04", "B08"), (2, 1, 0)), (("one", "two", "three", "four"), (0, 1, 2))],
)
def test_sentinel2_shows_red_green_and_blue_or_the_first_three(
    mixed_store: PatchStore, names: tuple[str, ...], shown: tuple[int, ...]
) -> None:
    spec, rows = mixed_store.specs["s2"], np.array([4, 9])
    mixed_store.specs["s2"] = replace(spec, modality=replace(spec.modality, bands=names))
    image = true_colour(mixed_store, rows)
    assert image.shape == (2, 16, 16, 3)
    assert image.dtype == np.float32
    stored = mixed_store.read("s2", rows).astype(np.float64)
    for patch in range(2):
        expected = stretched(stored[patch, list(shown)])
        np.testing.assert_allclose(np.moveaxis(image[patch], -1, 0), expected, atol=1e-5)


def test_sentinel1_shows_both_bands_and_their_difference(mixed_store: PatchStore) -> None:
    rows = np.array([4, 9])
    image = false_colour(mixed_store, rows)
    assert image.shape == (2, 16, 16, 3)
    vv, vh = np.moveaxis(mixed_store.read("s1", rows) / 100.0, 1, 0)
    for patch in range(2):
        for channel, values in enumerate((vv, vh, vv - vh)):
            expected = stretched(values[patch])
            np.testing.assert_allclose(image[patch, ..., channel], expected, atol=1e-4)


def test_one_band_of_sentinel1_is_grey(
    mixed_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = mixed_store.read("s1", np.array([4]))[:, :1].copy()
    monkeypatch.setattr(PatchStore, "read", lambda *_: stored)
    image = false_colour(mixed_store, np.array([4]))
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert image.std() > 0


def test_missing_pixels_are_black_and_do_not_spoil_the_patch(
    mixed_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([4])
    stored = mixed_store.read("s2", rows).copy()
    stored[:, :, 0] = 65535
    monkeypatch.setattr(PatchStore, "read", lambda *_: stored)
    image = true_colour(mixed_store, rows)
    assert not image[0, 0].any()
    assert np.isfinite(image).all()
    assert image[0, 1:].max() == 1


# --- what models say


def test_maps_are_what_is_evaluated(mixed_store: PatchStore, write_model: WriteModel) -> None:
    """One column a model, and two files are an ensemble."""
    unet = write_model(mixed_store, "unet", head="unet", fusion="early", task="segmentation")
    swin = write_model(mixed_store, "swin", head="swin_unet", fusion="late", task="segmentation")
    rows, device = mixed_store.labelled("test"), accelerator("no")
    files = {"unet": [unet], "swin": [swin], "ensemble": [unet, swin]}
    maps = class_maps(files, mixed_store, rows, device)
    assert list(maps) == ["unet", "swin", "ensemble"]
    masks = mixed_store.masks(rows)[:, 0].numpy()
    (scored,) = evaluate([files["ensemble"]], mixed_store, device)
    for found, (evaluation, *_) in zip(maps.values(), scored, strict=True):
        assert found.shape == masks.shape
        right = (found == masks)[masks != 255].mean()
        assert right == pytest.approx(evaluation.scores["OA"])
    assert not np.array_equal(maps["unet"], maps["swin"])


SEEN = ["Sentinel-2", "Sentinel-1", "ground truth"]


@pytest.mark.parametrize(
    ("head", "method", "frozen", "title"),
    [
        ("unet", "random", False, "U-Net\nfrom scratch"),
        ("swin_unet", "dual_simclr", False, "SwinUNet\nfine-tuned"),
        ("swin_unet", "dual_simclr", True, "SwinUNet\nfrozen"),
    ],
)
def test_columns_say_what_a_model_is(head: Head, method: str, frozen: bool, title: str) -> None:
    arm = Arm(
        task="segmentation", head=head, init="i", fusion="late", frozen=frozen, lr=1,
        backbone_lr_scale=1, modality_dropout=0,
    )  # fmt: skip
    assert column_title(arm, method) == title


def test_bands_of_true_colour_are_stretched_alike(mixed_store: PatchStore) -> None:
    """Where red is brighter than blue it is so in the picture."""
    rows = mixed_store.labelled("test")
    bands = mixed_store.specs["s2"].modality.bands
    red, blue = (bands.index(name) for name in ("B04", "B02"))
    values, image = mixed_store.read("s2", rows).astype(float), true_colour(mixed_store, rows)
    shown = (image > 0).all(-1) & (image < 1).all(-1)
    stored = (values[:, red] - values[:, blue])[shown]
    painted_so = (image[..., 0] - image[..., 2])[shown]
    assert len(stored) > 50
    np.testing.assert_array_equal(np.sign(stored), np.sign(painted_so))


def test_one_row_a_patch_and_a_column_a_model(
    mixed_store: PatchStore, tmp_path: Path, drawn: list[Figure]
) -> None:
    rows = varied_patches(mixed_store, 2)
    maps = {name: np.full((2, 16, 16), k) for k, name in enumerate(("unet", "swin_unet"))}
    draw_qualitative(maps, mixed_store, rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    assert len(figure.axes) == 2 * 5
    titles = [axes.get_title() for axes in figure.axes[:5]]
    assert [title.partition("\n")[0] for title in titles[:3]] == SEEN
    assert titles[3:] == ["unet", "swin_unet"]
    for patch, row in enumerate(rows):
        truth = painted(mixed_store.masks(np.array([row]))[:, 0].numpy(), mixed_store)[0]
        shown = [np.asarray(axes.get_images()[0].get_array()) for axes in figure.axes]
        np.testing.assert_allclose(shown[5 * patch + 2], truth)
        np.testing.assert_allclose(shown[5 * patch + 4], painted(maps["swin_unet"], mixed_store)[0])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(mixed_store.classes)


def test_the_same_maps_give_the_same_bytes(mixed_store: PatchStore, tmp_path: Path) -> None:
    rows = varied_patches(mixed_store, 1)
    for name, number in (("one", 0), ("two", 0), ("other", 1)):
        maps = {"unet": np.full((1, 16, 16), number)}
        draw_qualitative(maps, mixed_store, rows, tmp_path / f"{name}.png")
    one, two, other = ((tmp_path / f"{n}.png").read_bytes() for n in ("one", "two", "other"))
    assert one == two
    assert one != other
    assert plt.get_fignums() == []


# --- the same as numbers


def test_what_the_figure_shows_is_kept_as_numbers(mixed_store: PatchStore, tmp_path: Path) -> None:
    rows = varied_patches(mixed_store, 2)
    maps = {
        "U-Net\nfrom scratch": np.zeros((2, 16, 16), int),
        "ensemble": np.ones((2, 16, 16), int),
    }
    for name in ("one", "two"):
        write_maps(maps, mixed_store, rows, tmp_path / f"{name}.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as kept:  # without pickles
        assert kept["columns"].tolist() == ["U-Net from scratch", "ensemble"]
        assert kept["classes"].tolist() == list(mixed_store.classes)
        assert kept["ids"].tolist() == mixed_store.index["id"][rows].tolist()
        np.testing.assert_array_equal(kept["maps"], np.stack(list(maps.values())))
        truth = mixed_store.masks(rows)[:, 0].numpy()
        np.testing.assert_array_equal(kept["ground_truth"], truth)


def test_without_segmenters_there_are_no_maps(tiny_store: PatchStore, tmp_path: Path) -> None:
    write_maps({}, tiny_store, np.array([], dtype=np.int64), tmp_path / "none.npz")
    with np.load(tmp_path / "none.npz") as kept:
        assert sorted(kept) == ["classes", "columns", "ids"]
        assert kept["ids"].size == kept["columns"].size == 0
