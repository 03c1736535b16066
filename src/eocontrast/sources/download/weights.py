"""Downloads of published weights, verified and converted once to files in a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from eocontrast.models.weights import PUBLISHED, Pretrained
from eocontrast.published.catalogue import UNKNOWN, Entry
from eocontrast.published.convert import convert
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256
from eocontrast.sources.download.transfer import fetch_file


def published_file(entry: Entry, folder: Path = PUBLISHED) -> Path:
    """Return the path of an entry's converted weights."""
    return folder / f"{entry.name}.safetensors"


def obtain(entry: Entry, pinned: str = "", folder: Path = PUBLISHED) -> Pretrained:
    """Return published weights from the folder, or fetch, verify and convert them.

    Args:
        entry: Entry of the catalogue.
        pinned: SHA-256 of the publisher's file; the catalogue's if empty.
        folder: Folder of converted files.

    Raises:
        UserError: the digest is unknown or differs, or the file cannot be fetched or converted.
    """
    expected, file = pinned or entry.sha256, published_file(entry, folder)
    if not file.exists():
        return fetch_weights(entry, expected, folder)
    made = Pretrained.load(file)
    found = made.run.get("sha256", "")
    if expected != UNKNOWN and not found.startswith(expected):
        raise UserError(
            f"{file} was made of a file with sha256 {found}, but {expected} is expected: remove it "
            f"and run `eocontrast weights fetch {entry.name}`, or correct the digest"
        )
    return made


def fetch_weights(
    entry: Entry, expected: str = "", folder: Path = PUBLISHED, unverified: bool = False
) -> Pretrained:
    """Download, verify and convert published weights; the downloaded file is removed.

    The server is the Hugging Face Hub, or the mirror that the variable HF_ENDPOINT names.

    Args:
        entry: Entry of the catalogue.
        expected: SHA-256 of the file in hex; the catalogue's if empty.
        folder: Folder of converted files.
        unverified: Take whatever the server sends if no digest is known.

    Raises:
        UserError: no address or digest is known, or the file cannot be fetched or converted.
    """
    expected = expected or entry.sha256
    if entry.address == "none":
        raise UserError(
            f"the catalogue has no address of {entry.name}: download it from its authors "
            f"({entry.citation}), then run `eocontrast import-weights FILE --as {entry.name}`"
        )
    if expected == UNKNOWN and not unverified:
        raise UserError(
            f"the publisher gives no digest of {entry.name} ({entry.file}): pass its sha256 by "
            "--sha256, or --unverified to take what the server sends and print its sha256"
        )
    server = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    target = folder / entry.file
    digest = "" if expected == UNKNOWN else expected
    fetch_file(entry.url(server), target, sha256=digest)
    try:
        sha256 = file_sha256(target)
        made = convert(target, entry, sha256)
        made.save(published_file(entry, folder))
    finally:
        target.unlink()
    print(f"{entry.name}: sha256 {sha256}, {entry.licence}", file=sys.stderr)
    return made
