"""A few test patches as images, with the classes that several segmenters give their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from eocontrast.evaluation.prediction import Predictions, ensemble, load_model, predict
from eocontrast.modalities import TRUE_COLOUR, Sensor
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.tasks import TASKS
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole

Images = NDArray[np.uint8]
"""Red, green and blue, (n, H, W, 3)."""


def write_maps(
    files: Mapping[str, Sequence[Path]],
    store: PatchStore,
    number: int,
    device: Accelerator,
    path: Path,
) -> None:
    """Segment varied test patches with several arms.

    Writes an NPZ file with everything that the figure shows, so that it is drawn without torch:

    - `ids` of the patches (n,), `optical` and `radar` images of them (n, H, W, 3), and the
      `image_titles` of these two;
    - `classes` (k,) and their `palette` as `#rrggbb` (k,);
    - `ground_truth` (n, H, W), in which `IGNORE_INDEX` is no class;
    - `columns` (m,), the titles of the arms, and their `maps` of class indices (m, n, H, W);
    - `note`, the reason why nothing was segmented, empty if something was.

    Args:
        files: Weights of segmenters by arm, several of an ensemble. Without any, the file holds
            only the note.
        store: Patch store with masks. Without masks the file holds only the note.
        number: Number of patches, at most.
        device: Where the models run.
        path: File to write.
    """
    why = "no arms in qualitative.arms" if store.has_masks else "no masks"
    content: dict[str, Any] = {"note": f"{why}: nothing was segmented"}
    if store.has_masks and files:
        rows = varied_patches(store, number)
        maps = class_maps(files, store, rows, device)
        content = {
            "note": "",
            "ids": store.index["id"].to_numpy(dtype=str)[rows],
            "optical": optical_image(store, rows),
            "radar": radar_image(store, rows),
            "image_titles": np.array(image_titles(store)),
            "classes": np.array(store.classes),
            "palette": np.array([store.palette[name] for name in store.classes]),
            "ground_truth": store.masks(rows)[:, 0].numpy().astype(np.uint8),
            "columns": np.array(list(maps)),
            "maps": np.stack(list(maps.values())).astype(np.uint8),
        }
    with whole(path) as partial, partial.open("wb") as file:  # a name would get a suffix
        np.savez_compressed(file, **content)


def varied_patches(store: PatchStore, number: int) -> Rows:
    """Return the test patches with the most even mix of classes, at most one per group, (n,).

    Raises:
        UserError: the test split has no masks.
    """
    rows = store.labelled("test")
    if store.shares is None or not store.has_masks or len(rows) == 0:
        raise UserError(f"{store.folder} has no masks in the split test: nothing to draw")
    # the entropy of the shares: largest where classes cover equal parts
    mix = torch.special.entr(torch.from_numpy(store.shares[rows])).sum(1).numpy()
    chosen: dict[object, int] = {}
    # stable: equal mixes keep the order of the store
    for row in rows[np.argsort(-mix, kind="stable")].tolist():
        chosen.setdefault(store.groups[row], row)
    return np.array(list(chosen.values())[:number], dtype=np.int64)


def class_maps(
    files: Mapping[str, Sequence[Path]], store: PatchStore, rows: Rows, device: Accelerator
) -> dict[str, NDArray[np.int64]]:
    """Return the class of every pixel, (n, H, W), by the title of each arm.

    Several files under one key are an ensemble.
    """

    @cache  # ensembles share their members with other arms
    def predicted(file: Path) -> tuple[Predictions, FinetunedSpec]:
        model, spec = load_model(file, store)
        return predict(model, TASKS["segmentation"], store, rows, device), spec

    maps = {}
    for name, members in files.items():
        predictions, specs = zip(*map(predicted, members), strict=True)
        probabilities = next(iter(ensemble(predictions).values()))
        maps[_title(name, specs)] = probabilities.max(1).indices.numpy()
    return maps


def image_titles(store: PatchStore) -> list[str]:
    """Return the titles of the optical and the radar image, with the bands that they show."""
    optical, radar = (store.specs[sensor].modality.bands for sensor in ("s2", "s1"))
    shown = [optical[number] for number in _optical_bands(optical)]
    true = shown == list(TRUE_COLOUR)
    first, last = radar[0], radar[-1]
    pair = first if first == last else f"{first}, {last}, {first} - {last}"
    colours = "true colour" if true else ", ".join(dict.fromkeys(shown))
    return [f"Sentinel-2\n{colours}", f"Sentinel-1\n{pair}"]


def optical_image(store: PatchStore, rows: Rows) -> Images:
    """Return red, green and blue of Sentinel-2 if its bands are named, else its first three."""
    chosen = _optical_bands(store.specs["s2"].modality.bands)
    # one stretch for all three: a stretch per band would change their colours
    return _stretched(_decoded(store, "s2", rows)[:, chosen], axis=(1, 2, 3))


def _optical_bands(bands: Sequence[str]) -> list[int]:
    """Return the positions of the bands that are shown as red, green and blue."""
    rgb = [bands.index(name) for name in TRUE_COLOUR if name in bands]
    return rgb if len(rgb) == 3 else [min(number, len(bands) - 1) for number in range(3)]


def radar_image(store: PatchStore, rows: Rows) -> Images:
    """Return VV, VH and VV - VH of Sentinel-1 as red, green and blue; a single band is grey."""
    values = _decoded(store, "s1", rows)
    first, last = values[:, 0], values[:, -1]
    third = first if values.shape[1] == 1 else first - last
    return _stretched(np.stack([first, last, third], axis=1), axis=(2, 3))


def _title(name: str, members: Sequence[FinetunedSpec]) -> str:
    """Return the name of an arm and how its backbones were trained."""
    if len(members) > 1:
        return f"{name}\nmean of {len(members)}"
    (spec,) = members
    tuned = "frozen" if spec.frozen else "fine-tuned"
    return f"{name}\n{'from scratch' if spec.method == 'random' else tuned}"


def _decoded(store: PatchStore, sensor: Sensor, rows: Rows) -> NDArray[np.float32]:
    modality = store.specs[sensor].modality
    values = modality.decode(store.read(sensor, rows))
    clipped: NDArray[np.float32] = np.clip(values, *modality.valid_range)
    return clipped


def _stretched(values: NDArray[np.float32], axis: tuple[int, ...]) -> Images:
    """Stretch (n, 3, H, W) between the 2nd and 98th percentile over `axis`; missing is black."""
    low, high = np.nanpercentile(values, [2, 98], axis=axis, keepdims=True)
    scaled = np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1)
    image: Images = np.rint(np.nan_to_num(np.moveaxis(scaled, 1, -1)) * 255).astype(np.uint8)
    return image
