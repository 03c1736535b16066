"""Index, band statistics and digest of a patch store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eocontrast.modalities import Sensor
from eocontrast.normalisation.bands import Bands
from eocontrast.normalisation.ground import pixel_size, with_offset
from eocontrast.normalisation.moments import mean_and_sd
from eocontrast.normalisation.pairs import Patch
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text


def write_index(
    folder: Path,
    source: Source,
    bands: Mapping[Sensor, Bands],
    side: int,
    patches: Sequence[Patch],
) -> dict[str, int]:
    """Write `index.parquet` and `stats.json` beside the shards.

    Args:
        folder: Folder of the store.
        source: Source of the patches.
        bands: Bands of the store, by sensor.
        side: Side of every patch in pixels.
        patches: Patches without an error, in the order of the manifest.

    Returns:
        Number of patches by split.

    Raises:
        UserError: There is no patch, none outside the test split, or a band is constant.
    """
    if not patches:
        raise UserError("the manifest leaves no usable patch; see the findings above")
    index = pd.DataFrame([patch.facts for patch in patches])
    header: dict[str, object] = {
        "data": {"name": source.name, "licence": source.licence},
        "classes": list(source.classes),
        "palette": source.palette,
        "patch_size": side,
        "digest": _digest(patches),
    }
    # statistics must not know the test split
    seen = [patch for patch in patches if patch.split != "test"]
    if not seen:
        raise UserError(
            "every usable patch is in the split test: statistics need others, give some of "
            "them the split train or pretrain"
        )
    ground: dict[str, Any]
    for sensor, stored in bands.items():
        spec = _input_spec(sensor, stored, seen, side)
        ground = {"pixel": pixel_size(patches), "with_offset": with_offset(source, sensor, patches)}
        header[sensor] = replace(spec, **ground).to_dict()
    index.to_parquet(folder / "index.parquet", index=False)
    write_text(folder / "stats.json", json.dumps(header, indent=1) + "\n")
    return {str(split): int(n) for split, n in index["split"].value_counts().sort_index().items()}


def _digest(patches: Sequence[Patch]) -> str:
    """Return a digest that changes with any entry of the index and any stored pixel."""
    # hashing every pixel once more would take 1.3 ms per patch of 256 px; normalise takes 5
    table = pd.DataFrame(
        patch.facts | {f"crc_{kind}": crc for kind, crc in patch.checksums.items()}
        for patch in patches
    )
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def _input_spec(sensor: Sensor, bands: Bands, patches: Sequence[Patch], side: int) -> InputSpec:
    sums = np.zeros((3, len(bands.places)), dtype=object)
    for patch in patches:
        sums += patch.sums[sensor]
    means, sds = mean_and_sd(sums, bands.held.storage.step)
    constant = [band for band, sd in zip(bands.held.bands, sds, strict=True) if not sd > 0]
    if constant:
        raise UserError(
            f"{sensor}: bands {', '.join(constant)} hold one value everywhere, from which nothing "
            "can be learnt: name them in normalise.drop_bands, or mend the rasters"
        )
    # six significant digits, so that rounding on another CPU does not change the store
    mean, sd = ([float(f"{value:.6g}") for value in part] for part in (means, sds))
    # give filled bands 0 and 1: they hold no data, so they have no statistics of their own
    filled = len(bands.filled)
    return InputSpec(bands.modality, (*mean, *[0.0] * filled), (*sd, *[1.0] * filled), side)
