"""What the patch store says of itself: an index of its patches, statistics and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audited import Audited
from eocontrast.normalisation.bands import Bands
from eocontrast.normalisation.moments import Moments
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.sealed import write_sealed


def write_index(
    folder: Path,
    source: Source,
    bands: Mapping[Sensor, Bands],
    side: int,
    patches: Sequence[Audited],
) -> dict[str, int]:
    """Write `index.parquet` and `stats.json` beside the shards.

    Args:
        folder: of the store.
        source: what the patches are of.
        bands: of the store, by sensor.
        side: of every patch in pixels.
        patches: those that count, in the order of the manifest.

    Returns:
        Number of patches by split.

    Raises:
        UserError: there is no patch, none outside the test split, or a band never changes.
    """
    if not patches:
        raise UserError("the manifest leaves no usable patch; see the findings above")
    index = pd.DataFrame([patch.facts for patch in patches])
    header: dict[str, object] = {
        "data": {"name": source.name, "licence": source.licence},
        "classes": list(source.classes),
        "palette": source.palette,
        "patch_size": side,
        # the index has a checksum of every array
        "digest": hashlib.sha256(index.to_csv(index=False).encode()).hexdigest(),
    }
    moments = _moments(patches)
    for sensor, stored in bands.items():
        header[sensor] = _input_spec(sensor, stored, moments[sensor], side).to_dict()
    index.to_parquet(folder / "index.parquet", index=False)
    header["index_sha256"] = file_sha256(folder / "index.parquet")
    write_sealed(folder / "stats.json", header)
    return {str(split): int(n) for split, n in index["split"].value_counts().sort_index().items()}


def _moments(patches: Sequence[Audited]) -> dict[Sensor, Moments]:
    known: dict[Sensor, Moments] = {}
    for patch in patches:
        if patch.split != "test":  # statistics must not know the test split
            for sensor, moments in patch.moments.items():
                known[sensor] = known[sensor].merge(moments) if sensor in known else moments
    if not known:
        raise UserError(
            "every usable patch is in the split test: statistics need others, give some of "
            "them the split train or pretrain"
        )
    return known


def _input_spec(sensor: Sensor, bands: Bands, moments: Moments, patch_size: int) -> InputSpec:
    kept = len(bands.places)
    sds = zip(bands.held.bands, moments.sd[:kept], strict=True)
    constant = [band for band, sd in sds if not sd > 0]
    if constant:
        raise UserError(
            f"{sensor}: bands {', '.join(constant)} hold one value everywhere, from which nothing "
            "can be learnt: name them in normalise.drop_bands, or mend the rasters"
        )
    # six significant digits: rounding noise of another CPU does not change the artifact
    mean, sd = ([float(f"{v:.6g}") for v in part[:kept]] for part in (moments.mean, moments.sd))
    for _ in bands.filled:
        mean.append(0.0)
        sd.append(1.0)
    return InputSpec(bands.modality, tuple(mean), tuple(sd), patch_size)
