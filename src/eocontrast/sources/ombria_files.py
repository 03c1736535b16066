"""Names and digest of OMBRIA's files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from eocontrast.runtime.errors import UserError, some
from eocontrast.sources.rois import content

# pin the commit, so that size and digest below stay true
COMMIT = "38a490355f76da8ce27ed051138f03f3492a6e46"

SPLITS = ("train", "test")
KINDS = (("S1", "before"), ("S1", "after"), ("S2", "before"), ("S2", "after"), ("S2", "mask"))
"""Sensor and content of the files that are read, five per place."""

ADVICE = (
    "sources.ombria.path in params.yaml names the folder or the archive of "
    f"https://github.com/geodrak/OMBRIA at {COMMIT}"
)

Places = dict[str, str]
"""Split by place."""


@dataclass(frozen=True)
class Content:
    """Number, size in bytes and digest of the files that are read."""

    files: int
    size: int
    sha256: str


PUBLISHED = Content(
    3_470, 160_319_426, "7310a5036c89adef4a02bba2c6f0752c598783394e3fa49f358042a7d0a8e3e8"
)
"""The published files. GitHub packs an archive for every request, so its bytes are not stable."""


def image(split: str, place: str, sensor: str, kind: str) -> str:
    """Return the path of a file within the data set, such as sensor `S1` and kind `before`."""
    return f"Ombria{sensor}/{split}/{kind.upper()}/{sensor}_{kind}_{place}.png"


def describe_files(data: Path, places: Places) -> Content:
    """Return number, size and digest of the files that are read.

    The digest is that of sha256sum's output on the files in the order of their paths.
    """
    names = sorted(image(split, place, *kind) for place, split in places.items() for kind in KINDS)
    size, digest = 0, hashlib.sha256()
    for name in names:
        read = (data / name).read_bytes()
        size += len(read)
        digest.update(f"{hashlib.sha256(read).hexdigest()}  {name}\n".encode())
    return Content(len(names), size, digest.hexdigest())


def find_places(data: Path) -> Places:
    """Return the places by name with their splits, after checking that each has all files."""
    places: Places = {}
    for split in SPLITS:
        found = {kind: _numbers(data, split, *kind) for kind in KINDS}
        every = sorted(set[str]().union(*found.values()))
        for kind, present in found.items():
            missing = [place for place in every if place not in present]
            if missing:
                raise UserError(
                    f"{data / image(split, missing[0], *kind)} is missing: {len(missing)} of "
                    f"{len(every)} places of {split} have other images but not this one "
                    f"({some(missing)}). Unpack those too; {ADVICE}"
                )
        places |= dict.fromkeys(every, split)
    if not places:
        wanted = image("train", "<place>", "S2", "before")
        raise UserError(f"looked for {wanted} in {data}, found {content(data)}; {ADVICE}")
    return places


def _numbers(data: Path, split: str, sensor: str, kind: str) -> set[str]:
    name = re.compile(rf"{sensor}_{kind}_(\d+)\.png")
    folder = (data / image(split, "", sensor, kind)).parent
    matches = (name.fullmatch(path.name) for path in folder.glob("*.png"))
    return {match[1] for match in matches if match}
