"""The patch store: fixed-shape integer arrays on disk, read as memory maps.

A GeoTIFF patch costs about a millisecond to open; the same bytes from a memory map cost a copy
(`benchmarks/loader.py` prints the ratio). Bytes stay as stored until they are on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.shard_files import KINDS, array_crc32, shard_path
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import COMES_BACK, UserError, readable
from eocontrast.runtime.sealed import read_sealed, refuse_other

Kind = Literal["s1", "s2", "label"]


REBUILD = f"run `dvc repro -f normalise`{COMES_BACK}"
"""What mends a store."""

PIXELS = 2**18
"""Pixels that a forward pass without gradients takes at once: 64 patches of 64 px, which a CPU does
1.2 to 1.5 times as fast as 256, in half the memory."""


class PatchStore:
    """Co-registered patches of one source.

    Attributes:
        index: one row a patch: `id, group, split, label` (class index, -1 for none), `valid` (share
            of pixels with data in both sensors), `shard, row`, a checksum `crc_<kind>` of each
            array; `share_<k>` where there are masks.
        specs: input spec by sensor; statistics come from the patches outside the test split.
        data: name and licence of the source.
        classes: class names in the order of their indices.
        digest: sha256 of the index and so of the checksums of all arrays, to tell one state of the
            data from another.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        stats, index = self.folder / "stats.json", self.folder / "index.parquet"
        with readable(f"{folder} is no complete patch store: {stats}", REBUILD):
            header: dict[str, Any] = read_sealed(stats)
        with readable(f"{folder} is no complete patch store: {index}", REBUILD):
            refuse_other(index, header["index_sha256"])
            self.index = pd.read_parquet(index)
            checksums = [f"crc_{kind}" for kind in KINDS]
            self.index[
                ["id", "group", "split", "label", "shard", "row", *checksums]
            ]  # or it lacks one
        with readable(f"{folder} is no complete patch store: {stats}", REBUILD):
            self.specs: dict[Sensor, InputSpec] = {
                sensor: InputSpec.from_dict(header[sensor]) for sensor in SENSORS
            }
            self.data: dict[str, str] = header["data"]
            self.classes: tuple[str, ...] = tuple(header["classes"])
            self.palette: dict[str, str] = header["palette"]
            self.digest: str = header["digest"]
            self.patch_size: int = header["patch_size"]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class index of every row, -1 for none, shape (N,)."""
        return self.index["label"].to_numpy(dtype=np.int64)

    @cached_property
    def shares(self) -> NDArray[np.float32] | None:
        """Share of each patch that each class covers, (N, C); None where there are no masks."""
        columns = [f"share_{number}" for number in range(len(self.classes))]
        if columns[0] not in self.index:
            return None
        return self.index[columns].to_numpy(dtype=np.float32, na_value=0)

    @cached_property
    def groups(self) -> NDArray[np.object_]:
        """Group of every row, shape (N,)."""
        return self.index["group"].to_numpy(dtype=object)

    @cached_property
    def group_numbers(self) -> NDArray[np.int64]:
        """Number of every row's group, shape (N,)."""
        return np.unique(self.groups.astype(str), return_inverse=True)[1].astype(np.int64)

    def rows(self, *splits: str) -> Rows:
        """Positions in the index of the patches of these splits, shape (n,)."""
        return np.flatnonzero(self.index["split"].isin(splits))

    def labelled(self, split: str) -> Rows:
        """Positions in the index of the labelled patches of a split, shape (n,)."""
        wanted = (self.index["split"] == split) & (self.index["label"] >= 0)
        return np.flatnonzero(wanted)

    def chunks(self, rows: Rows) -> Iterator[Rows]:
        """`rows` in pieces of at most `PIXELS` pixels."""
        size = max(1, PIXELS // self.patch_size**2)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def read(self, kind: Kind, rows: Rows, window: Window | None = None) -> NDArray[np.integer]:
        """Stored integers of these patches in this order, (n, bands, H, W), or (n, H, W) of masks.

        Args:
            kind: `s1`, `s2` or `label`.
            rows: positions in the index, (n,).
            window: the part of each that is read; all of it where None.

        Raises:
            UserError: a file is missing, or it is damaged where it is read for the first time.
        """
        shards = self._shard[rows].tolist()
        places: list[Any] = self._row[rows].tolist()
        maps = {shard: self._open(kind, shard) for shard in set(shards)}
        self._refuse_damaged(kind, rows, maps)
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

    def _refuse_damaged(
        self, kind: Kind, rows: Rows, maps: Mapping[int, NDArray[np.integer]]
    ) -> None:
        """Compare what this process reads for the first time with what was written.

        Patch by patch, because a batch of a large store touches more files than it has samples; and
        all of a patch, because that is what was written.
        """
        known, seen = self._checksums[kind], self._seen[kind]
        for row in rows[~seen[rows]].tolist():
            shard, place = int(self._shard[row]), int(self._row[row])
            if (found := array_crc32(maps[shard][place])) != known[row]:
                path = shard_path(self.folder, kind, shard)
                raise UserError(
                    f"{path} is damaged where patch {self.index['id'][row]} lies (its checksum is "
                    f"{found:08x}, {known[row]:08x} was written): {REBUILD}"
                )
            seen[row] = True

    def batch(
        self,
        rows: Rows,
        inputs: Mapping[Sensor, InputSpec] | None = None,
        window: Window | None = None,
        masks: bool = False,
    ) -> Batch:
        """Read tensors by sensor, ready to move to the device.

        Args:
            rows: positions in the index, (n,).
            inputs: what a model expects, its bands found by name; all bands if None.
            window: the part of each patch to read; all of it if None.
            masks: also read the class of every pixel, as `label`.

        Raises:
            UserError: the store's units or bands are not those that the model expects, or it has no
                masks.
        """
        wanted = inputs or self.specs
        batch: Batch = {s: self.bands(s, spec, rows, window) for s, spec in wanted.items()}
        return batch | {"label": self.masks(rows, window)} if masks else batch

    def bands(
        self, sensor: Sensor, spec: InputSpec, rows: Rows, window: Window | None = None
    ) -> Tensor:
        """The bands of one sensor that a model expects, (n, bands, H, W); see `read`, `batch`."""
        stored = torch.from_numpy(self.read(sensor, rows, window))
        channels = spec.channels(self.specs[sensor].modality)
        whole = channels == list(range(stored.shape[1]))
        return stored if whole else stored[:, channels]

    @property
    def has_masks(self) -> bool:
        """Whether any label was a mask."""
        return (self.folder / "label").exists()

    def masks(self, rows: Rows, window: Window | None = None) -> Tensor:
        """Class index of every pixel, 255 where ignored, uint8, shape (n, 1, H, W); see `read`.

        Raises:
            UserError: the source has no masks.
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

    @cached_property
    def _checksums(self) -> dict[str, NDArray[np.int64]]:
        return {kind: self.index[f"crc_{kind}"].to_numpy(dtype=np.int64) for kind in KINDS}

    @cached_property
    def _seen(self) -> dict[str, NDArray[np.bool_]]:
        return {kind: np.zeros(len(self.index), dtype=np.bool_) for kind in KINDS}

    def _layout(self, kind: Kind) -> tuple[object, ...]:
        """Type and shape of a patch."""
        sides = (self.patch_size, self.patch_size)
        if kind == "label":
            return (np.dtype(np.uint8), *sides)
        modality = self.specs[kind].modality
        return (np.dtype(modality.storage.dtype), len(modality.bands), *sides)

    def _open(self, kind: Kind, shard: int) -> NDArray[np.integer]:
        if (kind, shard) not in self._maps:
            path = shard_path(self.folder, kind, shard)
            with readable(f"{path} is missing or damaged", REBUILD):
                mapped = np.load(path, mmap_mode="r", allow_pickle=False)
                rows = int(self._row[self._shard == shard].max()) + 1
                layout = (mapped.dtype, *mapped.shape[1:])
                if layout != self._layout(kind) or len(mapped) < rows:
                    raise ValueError(f"it holds {mapped.shape} of {mapped.dtype}")
                self._maps[kind, shard] = mapped.view(np.ndarray)  # memmap's own indexing is slow
        return self._maps[kind, shard]


Rows = NDArray[np.int64]
