"""What the segmenters see and say of a few test patches, side by side (as P2, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from numpy.typing import NDArray

from eocontrast.config.arms import Arm
from eocontrast.labels import IGNORE_INDEX
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.files import whole

Image = NDArray[np.float32]


def column_title(arm: Arm, method: str) -> str:
    """What an arm is, in words.

    Args:
        arm: a segmenter.
        method: that its init was pretrained by.
    """
    head = {"unet": "U-Net", "swin_unet": "SwinUNet"}[arm.head]
    trained = "from scratch" if method == "random" else "frozen" if arm.frozen else "fine-tuned"
    return f"{head}\n{trained}"


def draw_qualitative(
    maps: Mapping[str, NDArray[np.int64]], store: PatchStore, rows: Rows, path: Path
) -> None:
    """One row a patch: Sentinel-2, Sentinel-1, ground truth, and a column a model."""
    truth = store.masks(rows)[:, 0].numpy()
    columns = {
        "Sentinel-2\ntrue colour": true_colour(store, rows),
        "Sentinel-1\nVV, VH, VV - VH": false_colour(store, rows),
        "ground truth": painted(truth, store),
        **{name: painted(found, store) for name, found in maps.items()},
    }
    size = (1.55 * len(columns), 1.62 * len(rows) + 0.6)
    figure, panels = plt.subplots(
        len(rows), len(columns), figsize=size, layout="constrained", squeeze=False
    )
    for (title, images), column in zip(columns.items(), panels.T, strict=True):
        column[0].set_title(title, fontsize=9)
        for axes, image in zip(column, images, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
    figure.legend(
        handles=[Patch(color=store.palette[name], label=name) for name in store.classes],
        loc="outside lower center",
        ncols=len(store.classes),
        fontsize=8,
        frameon=False,
    )
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)


def write_maps(
    maps: Mapping[str, NDArray[np.int64]], store: PatchStore, rows: Rows, path: Path
) -> None:
    """What the figure shows as numbers, for figures of one's own.

    Writes an NPZ file with `classes` (k,), `columns` (m,) and `ids` of the patches (n,), and, where
    there are any, `maps` of class indices (m, n, H, W) and `ground_truth` (n, H, W), in which
    `IGNORE_INDEX` is no class.
    """
    told = {
        "classes": np.array(store.classes),
        "columns": np.array([name.replace("\n", " ") for name in maps], dtype=str),
        "ids": store.index["id"].to_numpy(dtype=str)[rows],
    }
    if maps:
        told["maps"] = np.stack(list(maps.values())).astype(np.uint8)
        told["ground_truth"] = store.masks(rows)[:, 0].numpy().astype(np.uint8)
    with whole(path) as partial, partial.open("wb") as file:  # a name would get a suffix
        np.savez_compressed(file, **told)  # type: ignore[arg-type]  # its flag is a keyword too


def draw_nothing(reason: str, path: Path) -> None:
    """A figure that says why it shows nothing."""
    figure = plt.figure(figsize=(6, 1))
    figure.text(0.5, 0.5, reason, ha="center", va="center", fontsize=8)
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)


def painted(classes: NDArray[np.integer], store: PatchStore) -> Image:
    """Class indices (n, H, W) in the source's palette, (n, H, W, 3); ignored pixels are white."""
    colours = np.ones((IGNORE_INDEX + 1, 3), dtype=np.float32)
    for number, name in enumerate(store.classes):
        colours[number] = to_rgb(store.palette[name])
    image: Image = colours[classes]
    return image


def true_colour(store: PatchStore, rows: Rows) -> Image:
    """Red, green and blue of Sentinel-2 where their bands are named, else the first three."""
    bands = store.specs["s2"].modality.bands
    rgb = [bands.index(name) for name in ("B04", "B03", "B02") if name in bands]
    chosen = rgb if len(rgb) == 3 else [min(number, len(bands) - 1) for number in range(3)]
    # all bands alike: each stretched by itself has colours of its own
    return _stretched(_decoded(store, "s2", rows)[:, chosen], axis=(1, 2, 3))


def false_colour(store: PatchStore, rows: Rows) -> Image:
    """VV, VH and VV - VH of Sentinel-1 as red, green and blue; one band in grey."""
    values = _decoded(store, "s1", rows)
    first, last = values[:, 0], values[:, -1]
    third = first if values.shape[1] == 1 else first - last
    return _stretched(np.stack([first, last, third], axis=1), axis=(2, 3))


def _decoded(store: PatchStore, sensor: str, rows: Rows) -> Image:
    assert sensor in ("s1", "s2")
    modality = store.specs[sensor].modality  # type: ignore[index]
    values = modality.decode(store.read(sensor, rows))  # type: ignore[arg-type]
    clipped: Image = np.clip(values, *modality.valid_range)
    return clipped


def _stretched(values: Image, axis: tuple[int, ...]) -> Image:
    """(n, 3, H, W) between the 2nd and 98th percentile over `axis`, (n, H, W, 3)."""
    low, high = np.nanpercentile(values, [2, 98], axis=axis, keepdims=True)
    scaled = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)
    image: Image = np.nan_to_num(np.moveaxis(scaled, 1, -1).astype(np.float32))
    return image
