from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.prediction import load_model
from eocontrast.evaluation.qualitative import (
    class_maps,
    image_titles,
    optical_image,
    radar_image,
    varied_patches,
    write_maps,
)
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.model import Model
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]
SHARES = ["share_0", "share_1", "share_2"]
UNET = {"head": "unet", "fusion": "early", "task": "segmentation"}
SWIN = {"head": "swin_unet", "fusion": "late", "task": "segmentation"}


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


# --- images


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
    image = optical_image(mixed_store, rows)
    assert image.shape == (2, 16, 16, 3)
    assert image.dtype == np.uint8
    stored = mixed_store.read("s2", rows).astype(np.float64)
    for patch in range(2):
        expected = stretched(stored[patch, list(shown)])
        np.testing.assert_allclose(np.moveaxis(image[patch], -1, 0), 255 * expected, atol=0.51)


def test_sentinel1_shows_both_bands_and_their_difference(mixed_store: PatchStore) -> None:
    rows = np.array([4, 9])
    image = radar_image(mixed_store, rows)
    assert image.shape == (2, 16, 16, 3)
    vv, vh = np.moveaxis(mixed_store.read("s1", rows) / 100.0, 1, 0)
    for patch in range(2):
        for channel, values in enumerate((vv, vh, vv - vh)):
            expected = stretched(values[patch])
            np.testing.assert_allclose(image[patch, ..., channel], 255 * expected, atol=0.51)


def test_one_band_of_sentinel1_is_grey(
    mixed_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = mixed_store.read("s1", np.array([4]))[:, :1].copy()
    monkeypatch.setattr(PatchStore, "read", lambda *_: stored)
    image = radar_image(mixed_store, np.array([4]))
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
    image = optical_image(mixed_store, rows)
    assert not image[0, 0].any()
    assert image[0, 1:].max() == 255


@pytest.mark.parametrize(
    ("s1", "s2", "titles"),
    [
        (("VV", "VH"), ("B02", "B03", "B04", "B08"), ["true colour", "VV, VH, VV - VH"]),
        (("VV",), ("B11", "B08", "B03"), ["B11, B08, B03", "VV"]),
        (("VH",), ("B08",), ["B08", "VH"]),
    ],
)
def test_titles_name_the_shown_bands(
    mixed_store: PatchStore, s1: tuple[str, ...], s2: tuple[str, ...], titles: list[str]
) -> None:
    for sensor, spec in mixed_store.specs.items():
        modality = replace(spec.modality, bands={"s1": s1, "s2": s2}[sensor])
        mixed_store.specs[sensor] = replace(spec, modality=modality)
    assert [title.split("\n")[1] for title in image_titles(mixed_store)] == titles


def test_bands_of_true_colour_are_stretched_alike(mixed_store: PatchStore) -> None:
    """Where red is brighter than blue it is so in the picture."""
    rows = mixed_store.labelled("test")
    bands = mixed_store.specs["s2"].modality.bands
    red, blue = (bands.index(name) for name in ("B04", "B02"))
    values, image = mixed_store.read("s2", rows).astype(float), optical_image(mixed_store, rows)
    shown = (image > 0).all(-1) & (image < 255).all(-1)
    stored = (values[:, red] - values[:, blue])[shown]
    painted_so = (image[..., 0].astype(int) - image[..., 2])[shown]
    assert len(stored) > 50
    # close bands may share a byte
    agree = (np.sign(stored) == np.sign(painted_so)) | (painted_so == 0)
    assert agree.all()
    assert (painted_so != 0).mean() > 0.9


# --- what models say


def test_maps_are_what_is_evaluated(mixed_store: PatchStore, write_model: WriteModel) -> None:
    """One column a model, and two files are an ensemble."""
    unet = write_model(mixed_store, "unet", head="unet", fusion="early", task="segmentation")
    swin = write_model(mixed_store, "swin", head="swin_unet", fusion="late", task="segmentation")
    rows, device = mixed_store.labelled("test"), accelerator("no")
    files = {"unet": [unet], "swin": [swin], "ensemble": [unet, swin]}
    maps = class_maps(files, mixed_store, rows, device)
    assert [title.split("\n")[0] for title in maps] == ["unet", "swin", "ensemble"]
    masks = mixed_store.masks(rows)[:, 0].numpy()
    (scored,) = evaluate([files["ensemble"]], mixed_store, device)
    for found, (evaluation, *_) in zip(maps.values(), scored, strict=True):
        assert found.shape == masks.shape
        right = (found == masks)[masks != 255].mean()
        assert right == pytest.approx(evaluation.scores["OA"])
    alone, other, _ = maps.values()
    assert not np.array_equal(alone, other)


def test_each_model_is_loaded_once(
    mixed_store: PatchStore,
    write_model: WriteModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unet, other = (write_model(mixed_store, name, **UNET) for name in ("unet", "other"))
    loaded: list[Path] = []

    def load(file: Path, store: PatchStore) -> tuple[Model, FinetunedSpec]:
        loaded.append(file)
        return load_model(file, store)

    monkeypatch.setattr("eocontrast.evaluation.qualitative.load_model", load)
    files = {"unet": [unet], "ensemble": [unet, other]}
    write_maps(files, mixed_store, 2, accelerator("no"), tmp_path / "maps.npz")
    assert loaded == [unet, other]


def test_write_maps(mixed_store: PatchStore, write_model: WriteModel, tmp_path: Path) -> None:
    unet = write_model(mixed_store, "unet", **UNET)
    swin = write_model(mixed_store, "swin", method="dual_simclr", **SWIN)
    files = {"unet": [unet], "swin": [swin], "ensemble": [unet, swin]}
    for name in ("one", "two"):
        write_maps(files, mixed_store, 2, accelerator("no"), tmp_path / f"{name}.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    rows = varied_patches(mixed_store, 2)
    expected = class_maps(files, mixed_store, rows, accelerator("no"))
    with np.load(tmp_path / "one.npz") as kept:  # without pickles
        assert str(kept["note"]) == ""
        columns = ["unet\nfrom scratch", "swin\nfine-tuned", "ensemble\nmean of 2"]
        assert kept["columns"].tolist() == columns
        assert kept["classes"].tolist() == list(mixed_store.classes)
        assert kept["palette"].tolist() == [mixed_store.palette[n] for n in mixed_store.classes]
        assert kept["ids"].tolist() == mixed_store.index["id"][rows].tolist()
        np.testing.assert_array_equal(kept["maps"], np.stack(list(expected.values())))
        truth = mixed_store.masks(rows)[:, 0].numpy()
        np.testing.assert_array_equal(kept["ground_truth"], truth)
        np.testing.assert_array_equal(kept["optical"], optical_image(mixed_store, rows))
        np.testing.assert_array_equal(kept["radar"], radar_image(mixed_store, rows))


def test_nothing_to_segment(
    tiny_store: PatchStore, mixed_store: PatchStore, tmp_path: Path
) -> None:
    for store, why in ((tiny_store, "no masks"), (mixed_store, "no arms in qualitative.arms")):
        write_maps({}, store, 2, accelerator("no"), tmp_path / "none.npz")
        with np.load(tmp_path / "none.npz") as kept:
            assert list(kept) == ["note"]
            assert why in str(kept["note"])
