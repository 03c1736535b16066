"""Sizes and digests of a source's rasters: a small table that DVC tracks in place of the rasters.

Digests are kept beside the rasters in `.digests.csv`. A patch whose files have the same sizes and
modification times as before is not read again, so a code change does not hash a data set twice.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eocontrast.labels import named_classes
from eocontrast.modalities import Modality
from eocontrast.rasters.open import source_files
from eocontrast.rasters.products import raster_files
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.runtime.parallel import parallel_map

DIGESTS = ".digests.csv"

Row = tuple[str, int, str, str]


def contents(source: Source, folder: Path) -> pd.DataFrame:
    """Return size and digest of the rasters of every patch, with the columns `id, bytes, md5`.

    Rasters outside `folder` belong to the user and may be very large. They are not read and not
    part of the digest, so DVC only notices when their size changes.

    Args:
        source: the source to describe.
        folder: folder that relative paths of the manifest refer to.

    Raises:
        UserError: a raster is missing.
    """
    rows = source.manifest.to_dict("records")
    known = _read_digests(folder / DIGESTS)
    # threads: hashing and reading release the interpreter's lock
    calls = [(source, folder, row, known) for row in rows]
    results = parallel_map(_content, calls, kind="threads")
    every = list(tqdm(results, "list", len(rows), unit="patch", leave=False, disable=None))
    digests = {stamp: md5 for _, _, md5, stamp in every if md5}
    if digests != known:
        lines = [f"{stamp},{md5}\n" for stamp, md5 in digests.items()]
        write_text(folder / DIGESTS, "".join(lines))
    return pd.DataFrame([row[:3] for row in every], columns=["id", "bytes", "md5"])


def _content(source: Source, folder: Path, row: dict[str, str], known: Mapping[str, str]) -> Row:
    """Return id, bytes, digest and stamp of one patch."""
    files = _files(source, row)
    try:
        stats = [(folder / file).stat() for file in files]
        size = sum(stat.st_size for stat in stats)
        # masks that were cut from a file of labels lie here, even if the images do not
        here = [(f, s) for f, s in zip(files, stats, strict=True) if not f.is_absolute()]
        if not here:
            return row["id"], size, "", ""
        # size and time of change, as git and make decide what to read again
        stamp = _stamp([(file.as_posix(), s.st_size, s.st_mtime_ns) for file, s in here])
        md5 = known.get(stamp) or _md5([folder / file for file, _ in here])
    except OSError as error:
        raise UserError(f"patch {row['id']}: a raster cannot be read: {error}") from None
    return row["id"], size, md5, stamp


def _stamp(files: list[tuple[str, int, int]]) -> str:
    return hashlib.blake2b(repr(files).encode(), digest_size=16).hexdigest()


def _md5(files: list[Path]) -> str:
    # MD5 as DVC has it: it tells changes apart and guards against nobody
    digest = hashlib.md5(usedforsecurity=False)
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read_digests(path: Path) -> dict[str, str]:
    """Return digests by stamp; damaged lines are ignored, so that their patches are read again."""
    if not path.exists():
        return {}
    text = path.read_text(errors="replace")
    return dict(re.findall(r"^([0-9a-f]{32}),([0-9a-f]{32})$", text, re.MULTILINE))


def _files(source: Source, row: dict[str, str]) -> list[Path]:
    sensors: list[tuple[str, Modality]] = [("s1", source.s1), ("s2", source.s2)]
    files = [file for name, modality in sensors for file in raster_files(row[name], modality.bands)]
    named = not row["label"] or named_classes(row["label"], list(source.classes))
    files = files if named else [*files, Path(row["label"])]
    # a VRT holds no pixels: it stays as it is when its sources change
    virtual = [file for file in files if file.suffix.lower() == ".vrt"]
    return files + [source for file in virtual for source in source_files(file)]
