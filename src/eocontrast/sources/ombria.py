"""OMBRIA (Drakonakis et al. 2022): 694 flooded places before and after, with flood masks.

    Ombria{S1,S2}/{train,test}/{BEFORE,AFTER,MASK}/{S1,S2}_{before,after,mask}_<place>.png

Images have 256 px of 8 bits. According to the publisher's notebook `patches.ipynb`, Sentinel-1 is
VV, stretched from the least to the largest value of each image, and Sentinel-2 is B11, B08 and B03.
The masks of both folders are equal, so those of Sentinel-2 are read. Images after the flood have
labels, and those before it have none.

The files have no georeference, and many places are adjacent tiles of one scene (module `tiles`):
67 of the 70 test places adjoin a training place. `split: published` keeps the published split for
comparison with other numbers, and `split: regions` holds out whole groups of adjacent tiles.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eocontrast.config.sources import OmbriaParams
from eocontrast.modalities import Modality
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.rasters.values import Declared
from eocontrast.runtime.errors import UserError, some
from eocontrast.runtime.files import check_free_disk, write_text
from eocontrast.sources.download.archives import extract, scratch
from eocontrast.sources.download.published import find_root, locate_data, manifest_path
from eocontrast.sources.download.transfer import fetch_file
from eocontrast.sources.official_splits import divide_groups
from eocontrast.sources.ombria_files import (
    COMMIT,
    PUBLISHED,
    Content,
    Places,
    describe_files,
    find_places,
    image,
)
from eocontrast.sources.overlaps import merge_groups
from eocontrast.sources.tiles import adjoining, alike, read_tiles

VV = Modality(("VV",), "DN", (0.0, 255.0))
"""Backscatter, stretched per image: values of two images cannot be compared."""

FALSE_COLOUR = Modality(("B11", "B08", "B03"), "DN", (0.0, 255.0))
"""Short-wave infrared, near infrared and green as red, green and blue."""

CLASSES = {"dry": 0, "flood": 255}
PALETTE = {"dry": "#c8b482", "flood": "#1c5fff"}

LICENCE = "unspecified"
"""The publisher states none."""

TOPS = ("OmbriaS1",)
DATES = ("before", "after")


def fetch(folder: Path, params: OmbriaParams, *, keep_archives: bool = False) -> Source:
    """Find images and masks; download them into `folder` if the parameters name no path.

    Raises:
        UserError: the archive cannot be downloaded or has other files, there are no places, or an
            image of a place is missing.
    """
    if isinstance(params.path, Path):
        data = locate_data(params.path, [], folder, TOPS)
    else:
        data = _download(folder, params.url, keep_archives)
    places = find_places(data)
    if isinstance(params.path, Path) and describe_files(data, places) != PUBLISHED:
        print(f"{data} differs from the published files of OMBRIA", file=sys.stderr)
    manifest = _manifest(data, folder, places, params.split)
    if params.find_overlaps:
        manifest = manifest.assign(group=_regions(data, places, manifest))
    declared = Declared("none")  # black is the darkest water
    return Source(
        VV,
        FALSE_COLOUR,
        CLASSES,
        PALETTE,
        divide_groups(manifest),
        licence=LICENCE,
        files={"s1": declared, "s2": declared},
    )


def _download(folder: Path, url: str, keep: bool) -> Path:
    """Download, unpack and verify the archive of the commit unless a note says that it was."""
    note, archive = folder / "archives/ombria.sha256", folder / f"archives/{COMMIT}.zip"
    if note.exists() and note.read_text(errors="replace").strip() == PUBLISHED.sha256:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    check_free_disk(folder, PUBLISHED.size, "OMBRIA")
    for attempt in (1, 2):
        # no digest: the archive is verified by its content
        fetch_file(f"{url}/{archive.name}", archive, md5="", beside=PUBLISHED.size)
        try:
            _unpack_verified(archive, folder)
            break
        except UserError:
            archive.unlink()
            # a download that resumed another packing is damaged: once more from the start
            if attempt == 2:
                raise
    write_text(note, f"{PUBLISHED.sha256}\n")
    if not keep:
        archive.unlink()
    return folder


def _unpack_verified(archive: Path, folder: Path) -> None:
    with scratch(folder) as work:
        extract(archive, ["*OmbriaS[12]/*.png"], work)
        data = find_root(work, TOPS)
        _verify(describe_files(data, find_places(data)), archive)
        shutil.copytree(data, folder, copy_function=os.replace, dirs_exist_ok=True)


def _verify(found: Content, archive: Path) -> None:
    if found != PUBLISHED:
        raise UserError(
            f"{archive} has {found.files} images of {found.size} bytes with sha256 "
            f"{found.sha256}, expected {PUBLISHED.files} of {PUBLISHED.size} bytes with "
            f"{PUBLISHED.sha256}; the download was removed. Run it again, or check the address"
        )


def _manifest(data: Path, folder: Path, places: Places, split: str) -> pd.DataFrame:
    """Return a row per place and date.

    The published split leaves out its test places before the flood: they have no label, and
    nothing may be trained on them.
    """
    rows = []
    for place, part in places.items():
        for date in DATES:
            label = image(part, place, "S2", "mask") if date == "after" else ""
            names = (image(part, place, "S1", date), image(part, place, "S2", date), label)
            paths = (manifest_path(data, name, folder) if name else "" for name in names)
            published = part if label else "pretrain"
            # the same ground as a test image, a few weeks earlier
            if split == "published" and part == "test" and not label:
                continue
            rows.append((f"{place}_{date}", *paths, place, "" if split == "regions" else published))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _regions(data: Path, places: Places, manifest: pd.DataFrame) -> list[str]:
    """Return the region of every row: places that adjoin or look alike share the first's name."""
    names = list(places)
    files = [[data / image(places[p], p, "S2", date) for date in DATES] for p in names]
    tiles = read_tiles(files)
    beside, copies = adjoining(tiles), alike(tiles)
    regions = dict(zip(names, merge_groups(names, [*beside, *copies]), strict=True))
    _report(names, places, beside, copies, len(set(regions.values())))
    return [regions[place] for place in manifest["group"]]


def _report(
    names: Sequence[str],
    places: Places,
    beside: Sequence[tuple[int, int]],
    copies: Sequence[tuple[int, int]],
    regions: int,
) -> None:
    links = [(names[a], names[b]) for one, other in beside for a, b in ((one, other), (other, one))]
    near = {b for a, b in links if (places[a], places[b]) == ("train", "test")}
    pairs = [f"{names[a]} and {names[b]}" for a, b in copies]
    print(
        f"{len(names)} places of OMBRIA form {regions} regions of adjacent tiles. {len(near)} of "
        f"{list(places.values()).count('test')} places of its test split adjoin a training place. "
        f"{len(pairs)} pairs look alike{': ' if pairs else ''}{some(pairs)}",
        file=sys.stderr,
    )
