"""Patches into shards: bounded files, one index, one pass of statistics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eocontrast.audit import Finding, has_error
from eocontrast.consistency import Consistency
from eocontrast.disk import check_free_disk
from eocontrast.errors import UserError
from eocontrast.inputs import InputSpec
from eocontrast.modalities import SENSORS, Modality, Sensor
from eocontrast.moments import Moments
from eocontrast.pairs import Patch
from eocontrast.patches import shard_path
from eocontrast.sources import Source


class ShardWriter:
    """Collects patches into shards of bounded size, and what is to be known of all of them.

    Args:
        folder: where the store is built.
        source: what the patches are of.
        shard_mib: largest shard of one sensor, in MiB.
        expected: number of patches to come, to check the free disk by.
    """

    def __init__(self, folder: Path, source: Source, shard_mib: int, expected: int) -> None:
        self.folder, self.source = folder, source
        self.shard_bytes = shard_mib * 2**20
        self.expected = expected
        self.consistency = Consistency()
        self.findings: list[Finding] = []
        self.facts: list[dict[str, object]] = []
        self.moments: dict[Sensor, Moments] = {}
        self.pending: list[Patch] = []
        self.shard = 0
        self.size: tuple[int, ...] | None = None
        self.digest = hashlib.sha256()

    def add(self, patch: Patch) -> None:
        """Keep a patch, or quarantine it when an error was found."""
        findings = self.consistency.findings(patch)
        self.findings += findings
        if has_error(findings):
            return
        if self.size is None:
            self._begin(patch)
        self.pending.append(patch)
        if patch.split != "test":  # statistics must not know the test split
            for sensor, moments in patch.moments.items():
                known = self.moments.get(sensor)
                self.moments[sensor] = known.merge(moments) if known else moments
        if len(self.pending) * max(a.nbytes for a in patch.arrays.values()) >= self.shard_bytes:
            self._flush()

    def finish(self) -> dict[str, int]:
        """Write what is left, the index and the statistics."""
        self._flush()
        if not self.facts:
            raise UserError("the manifest leaves no usable patch; see the findings above")
        index = pd.DataFrame(self.facts)
        self.digest.update(index.to_csv(index=False).encode())
        index.to_parquet(self.folder / "index.parquet", index=False)
        header = json.dumps(self._header(), indent=1)
        (self.folder / "stats.json").write_text(header + "\n")
        counts = {str(split): int(n) for split, n in index["split"].value_counts().items()}
        bad = {f.id for f in self.findings if f.severity == "error"}
        return {**dict(sorted(counts.items())), "quarantined": len(bad)}

    def _begin(self, first: Patch) -> None:
        self.size = first.arrays["s2"].shape[1:]
        needed = self.expected * sum(array.nbytes for array in first.arrays.values())
        check_free_disk(self.folder, needed, "the patch store")

    def _flush(self) -> None:
        if not self.pending:
            return
        for row, patch in enumerate(self.pending):
            self.facts.append({**patch.facts, "shard": self.shard, "row": row})
        for kind, arrays in self._stacks():
            path = shard_path(self.folder, kind, self.shard)
            path.parent.mkdir(exist_ok=True)
            self.digest.update(arrays.tobytes())
            np.save(path, arrays, allow_pickle=False)
        self.pending = []
        self.shard += 1

    def _stacks(self) -> Iterator[tuple[str, NDArray[np.integer]]]:
        for sensor in SENSORS:
            yield sensor, np.stack([patch.arrays[sensor] for patch in self.pending])
        if any("label" in patch.arrays for patch in self.pending):
            nothing = np.full(self.size or (), 255, dtype=np.uint8)
            yield "label", np.stack([p.arrays.get("label", nothing) for p in self.pending])

    def _header(self) -> dict[str, object]:
        assert self.size is not None  # there is a patch
        header: dict[str, object] = {
            "classes": list(self.source.classes),
            "palette": self.source.palette,
            "patch_size": self.size[0],
            "digest": self.digest.hexdigest(),
        }
        if not self.moments:
            raise UserError(
                "every usable patch is in the split test: statistics need others, give some of "
                "them the split train or pretrain"
            )
        for sensor, modality in self.source.modalities.items():
            spec = _input_spec(sensor, modality, self.moments[sensor], self.size[0])
            header[sensor] = spec.to_dict()
        return header


def _input_spec(sensor: Sensor, modality: Modality, moments: Moments, patch_size: int) -> InputSpec:
    constant = [b for b, sd in zip(modality.bands, moments.sd, strict=True) if not sd > 0]
    if constant:
        raise UserError(f"{sensor}: bands {constant} hold one value everywhere; drop them")
    # six significant digits: rounding noise of another CPU does not change the artifact
    mean, sd = (tuple(float(f"{v:.6g}") for v in values) for values in (moments.mean, moments.sd))
    return InputSpec(modality, mean, sd, patch_size)
