"""What the rasters of a source hold, in short: small enough for DVC, unlike the rasters."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eocontrast.labels import named_classes
from eocontrast.modalities import Modality
from eocontrast.rasters.open import expand
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError

Row = tuple[str, int, str]


def contents(source: Source, folder: Path) -> pd.DataFrame:
    """Size and digest of every patch's rasters, one row a patch: `id, bytes, md5`.

    What lies elsewhere is somebody else's, and may be half a terabyte: it is not read, and has no
    digest. Where rasters change without changing in size, `dvc repro -f download` does not see it.

    Args:
        source: what was fetched.
        folder: that relative paths of the manifest are relative to.

    Raises:
        UserError: names a raster that is missing.
    """
    rows = source.manifest.to_dict("records")
    # threads: hashing and reading release the interpreter's lock
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda row: _content(source, folder, row), rows)
        every = list(tqdm(found, "list", len(rows), unit="patch", leave=False, disable=None))
    return pd.DataFrame(every, columns=["id", "bytes", "md5"])


def _content(source: Source, folder: Path, row: dict[str, str]) -> Row:
    digest, size, ours = hashlib.md5(usedforsecurity=False), 0, True
    for file in _files(source, row):
        ours = ours and not file.is_absolute()
        try:
            size += os.stat(folder / file).st_size
            if ours:
                digest.update((folder / file).read_bytes())
        except OSError as error:
            raise UserError(f"patch {row['id']}: {folder / file} cannot be read: {error}") from None
    return row["id"], size, digest.hexdigest() if ours else ""


def _files(source: Source, row: dict[str, str]) -> list[Path]:
    sensors: list[tuple[str, Modality]] = [("s1", source.s1), ("s2", source.s2)]
    files = [file for name, modality in sensors for file in expand(row[name], modality.bands)]
    named = not row["label"] or named_classes(row["label"], list(source.classes))
    return files if named else [*files, Path(row["label"])]
