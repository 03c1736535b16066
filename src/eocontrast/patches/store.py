"""The patch store: fixed-shape integer arrays on disk, read as memory maps.

Opening a GeoTIFF patch takes about a millisecond; reading it from a memory map is a copy
(`benchmarks/loader.py` prints the ratio). Values stay integers until they are on the device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.labels import multi_label
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.shard_files import shard_path
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import COMES_BACK, UserError, readable

Kind = Literal["s1", "s2", "label"]


REBUILD = f"run `dvc repro -f normalise`{COMES_BACK}"
"""Advice for a store that cannot be read."""

PIXELS = 2**18
"""Pixels per forward pass without gradients, such as 64 patches of 64 px.

A CPU is 1.2 to 1.5 times as fast with these as with 256 patches, in half the memory.
"""


class PatchStore:
    """Co-registered patches of one source.

    Attributes:
        index: One row per patch: `id, group, split, label` (class index, -1 for none), `valid`
            (share of pixels with data in both sensors), `shard, row`; `share_<k>` of each class
            if the source has labels, `present_<k>` if it names the classes beside its masks, and
            `shapes` if masks were drawn from polygons or points.
        specs: Input specification by sensor, with statistics of the patches outside the test split.
        data: Name and licence of the source.
        classes: Class names in the order of their indices.
        palette: `#rrggbb` by class name.
        digest: SHA-256 of the index and of a checksum of every array. Models keep it, so that they
            are never scored on other data, and it names checkpoints.
        patch_size: Side of every patch in pixels.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._place = self.folder.absolute()  # now: the process may work elsewhere later
        stats, index = self.folder / "stats.json", self.folder / "index.parquet"
        with readable(f"{folder} is no complete patch store: {stats}", REBUILD):
            header: dict[str, Any] = json.loads(stats.read_text())
            self.specs: dict[Sensor, InputSpec] = {
                sensor: InputSpec.from_dict(header[sensor]) for sensor in SENSORS
            }
            self.data: dict[str, str] = header["data"]
            self.classes: tuple[str, ...] = tuple(header["classes"])
            self.palette: dict[str, str] = header["palette"]
            self.digest: str = header["digest"]
            self.patch_size: int = header["patch_size"]
        with readable(f"{folder} is no complete patch store: {index}", REBUILD):
            self.index = pd.read_parquet(index)
            self.index[["id", "group", "split", "label", "shard", "row"]]  # fails if one is missing

    def __reduce__(self) -> tuple[type[PatchStore], tuple[Path]]:
        """Pickle the folder alone: a worker, which may run elsewhere, opens the store itself."""
        return PatchStore, (self._place,)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Return the class index of every row, -1 for none, shape (N,)."""
        return self.index["label"].to_numpy(dtype=np.int64)

    @cached_property
    def shares(self) -> NDArray[np.float32] | None:
        """Return the share of each patch that each class covers, (N, C); None without labels."""
        columns = [f"share_{number}" for number in range(len(self.classes))]
        if columns[0] not in self.index:
            return None
        return self.index[columns].to_numpy(dtype=np.float32, na_value=0)

    @cached_property
    def present(self) -> NDArray[np.bool_] | None:
        """Return the classes of each patch, (N, C); None without labels.

        They are the published ones, or else those that cover a tenth of it (P1, section 3).
        """
        columns = [f"present_{number}" for number in range(len(self.classes))]
        if columns[0] not in self.index:
            return None if self.shares is None else multi_label(self.shares)
        # patches without a mask have none
        return self.index[columns].eq(True).to_numpy(dtype=np.bool_)

    @cached_property
    def shapes(self) -> NDArray[np.object_] | None:
        """Return the numbers of the polygons or points of every row, joined by spaces, (N,).

        It is None if labels are no polygons or points.
        """
        return self.index["shapes"].to_numpy(dtype=object) if "shapes" in self.index else None

    @cached_property
    def groups(self) -> NDArray[np.object_]:
        """Return the group of every row, shape (N,)."""
        return self.index["group"].to_numpy(dtype=object)

    @cached_property
    def group_numbers(self) -> NDArray[np.int64]:
        """Return the number of every row's group, shape (N,)."""
        return np.unique(self.groups.astype(str), return_inverse=True)[1].astype(np.int64)

    def rows(self, *splits: str) -> Rows:
        """Return the positions in the index of the patches of these splits, shape (n,)."""
        return np.flatnonzero(self.index["split"].isin(splits))

    def labelled(self, split: str) -> Rows:
        """Return the positions in the index of the labelled patches of a split, shape (n,)."""
        wanted = (self.index["split"] == split) & (self.index["label"] >= 0)
        return np.flatnonzero(wanted)

    def chunks(self, rows: Rows) -> Iterator[Rows]:
        """Yield `rows` in pieces of at most `PIXELS` pixels."""
        size = max(1, PIXELS // self.patch_size**2)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def read(self, kind: Kind, rows: Rows, window: Window | None = None) -> NDArray[np.integer]:
        """Return the stored integers of patches, (n, bands, H, W), or (n, H, W) of masks.

        Args:
            kind: `s1`, `s2` or `label`.
            rows: Positions in the index, (n,).
            window: Part of each patch to read; the whole patch if None.

        Raises:
            UserError: A file is missing or damaged.
        """
        shards = self._shard[rows].tolist()
        places: list[Any] = self._row[rows].tolist()
        maps = {shard: self._open(kind, shard) for shard in set(shards)}
        # all shards have one type and one size of patch
        first, sides = maps[shards[0]], (self.patch_size, self.patch_size)
        if window is not None:
            sides = (window.side, window.side)
            parts = zip(places, window.parts(), strict=True)
            places = [(place, ..., *part) for place, part in parts]
        stored = np.empty((len(rows), *first.shape[1:-2], *sides), dtype=first.dtype)
        # one plain copy a patch: indexing with an array copies everything twice
        for number, (shard, place) in enumerate(zip(shards, places, strict=True)):
            stored[number] = maps[shard][place]
        return stored

    def batch(
        self,
        rows: Rows,
        inputs: Mapping[Sensor, InputSpec] | None = None,
        window: Window | None = None,
        masks: bool = False,
    ) -> Batch:
        """Return the stored integers of patches by sensor, ready to move to the device.

        Args:
            rows: Positions in the index, (n,).
            inputs: Input specifications of a model; every band of the store if None.
            window: Part of each patch to read; the whole patch if None.
            masks: Whether to read the class of every pixel too, as `label`.

        Raises:
            UserError: The store has other units, not all bands that the model expects, or no masks.
        """
        wanted = inputs or self.specs
        batch: Batch = {s: self.bands(s, spec, rows, window) for s, spec in wanted.items()}
        return batch | {"label": self.masks(rows, window)} if masks else batch

    def bands(
        self, sensor: Sensor, spec: InputSpec, rows: Rows, window: Window | None = None
    ) -> Tensor:
        """Return the bands of one sensor that a model expects, (n, bands, H, W).

        See `read` and `batch`.
        """
        stored = torch.from_numpy(self.read(sensor, rows, window))
        channels = spec.channels(self.specs[sensor].modality)
        whole = channels == list(range(stored.shape[1]))
        return stored if whole else stored[:, channels]

    @property
    def has_masks(self) -> bool:
        """Return whether any label was a mask."""
        return (self.folder / "label").exists()

    def masks(self, rows: Rows, window: Window | None = None) -> Tensor:
        """Return the class index of every pixel, 255 if ignored, uint8, shape (n, 1, H, W).

        Raises:
            UserError: The source has no masks.
        """
        if not self.has_masks:
            raise UserError(f"{self.folder} has no masks: segmentation needs label rasters")
        return torch.from_numpy(self.read("label", rows, window))[:, None]

    @cached_property
    def _shard(self) -> NDArray[np.int64]:
        return self.index["shard"].to_numpy(dtype=np.int64)

    @cached_property
    def _row(self) -> NDArray[np.int64]:
        return self.index["row"].to_numpy(dtype=np.int64)

    @cached_property
    def _maps(self) -> dict[tuple[str, int], NDArray[np.integer]]:
        return {}

    def _layout(self, kind: Kind) -> tuple[object, ...]:
        """Return type and shape of a patch."""
        sides = (self.patch_size, self.patch_size)
        if kind == "label":
            return (np.dtype(np.uint8), *sides)
        modality = self.specs[kind].modality
        return (np.dtype(modality.storage.dtype), len(modality.bands), *sides)

    def _open(self, kind: Kind, shard: int) -> NDArray[np.integer]:
        if (kind, shard) not in self._maps:
            path = shard_path(self.folder, kind, shard)
            with readable(f"{path} is missing or damaged", REBUILD):
                # no pickles: an array of objects could run code
                mapped = np.load(path, mmap_mode="r", allow_pickle=False)
                rows = int(self._row[self._shard == shard].max()) + 1
                layout = (mapped.dtype, *mapped.shape[1:])
                if layout != self._layout(kind) or len(mapped) < rows:
                    raise ValueError(f"it holds {mapped.shape} of {mapped.dtype}")
                self._maps[kind, shard] = mapped.view(np.ndarray)  # memmap's own indexing is slow
        return self._maps[kind, shard]


Rows = NDArray[np.int64]
