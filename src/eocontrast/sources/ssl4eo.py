"""SSL4EO-S12 v1.1 (Blumenstiel et al. 2025): unlabelled pairs of 246,144 places, four dates each.

    <part>/{S1GRD,S2L1C,S2L2A}/ssl4eos12_<part>_seasonal_data_000001.zarr.zip

A shard has 64 places of 264 x 264 pixels of 10 m. Its images become GeoTIFF files, since every
other stage reads those. A place is a group, and no image has a label. The content of a shard
decides (module `ssl4eo_images`): an offset of 1000 is taken off, and dates pair the sensors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pandas as pd
from tqdm import tqdm

from eocontrast.config.sources import SSL4EOParams
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, write_text
from eocontrast.sources.download.published import find_root, listed_md5s
from eocontrast.sources.download.stated import stated_sha256
from eocontrast.sources.download.transfer import fetch_file
from eocontrast.sources.rois import content, data_folder
from eocontrast.sources.ssl4eo_images import SIDE, Image, convert
from eocontrast.sources.ssl4eo_shards import read_shard

LICENCE = "CC-BY-4.0"

# hold 64 places each: 2,176 for validation and 243,968 others (docs/data.md)
SHARDS = {"val": 34, "train": 3812}
"""Number of shards by part."""

PLACES = 64

ADVICE = (
    "sources.ssl4eo in params.yaml names the folder and the shards; the data are at "
    "https://huggingface.co/datasets/embed2scale/SSL4EO-S12-v1.1-Zarr"
)


def fetch(folder: Path, params: SSL4EOParams, *, keep_archives: bool = False) -> Source:
    """Convert the chosen images of the chosen shards; download the shards without a path.

    Raises:
        UserError: a shard is missing, damaged, of another layout, or cannot be downloaded, its
            digest differs, or the disk is full.
    """
    modality = SENTINEL2_L1C if params.level == "L1C" else SENTINEL2_L2A
    numbers = params.shards or range(1, SHARDS[params.part] + 1)
    beyond = [number for number in numbers if number > SHARDS[params.part]]
    if beyond:
        raise UserError(
            f"sources.ssl4eo.shards has {beyond[0]}, but {params.part} has {SHARDS[params.part]} "
            "shards; choose from those"
        )
    # reckon 4 bytes for each of VV and VH, and 2 for a band of Sentinel-2
    _check_disk(folder, params, numbers, 4 * 2 + 2 * len(modality.bands))
    data = None if params.path is None else find_root(data_folder(params.path), [params.part])
    images: list[Image] = []
    for number in tqdm(numbers, "shards", unit="shard", leave=False, disable=None):
        images += _images(folder, params, data, number, keep_archives)
    clear = [image for image in images if image.hidden <= params.max_cloud]
    _report(images, clear, params)
    rows = [
        (image.name, image.s1, image.s2, "", f"{params.part}_{image.place}", "pretrain")
        for image in clear
    ]
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    return Source(SENTINEL1, modality, DFC_CLASSES, DFC_PALETTE, manifest, licence=LICENCE)


def _check_disk(
    folder: Path, params: SSL4EOParams, numbers: Sequence[int], pixel_bytes: int
) -> None:
    """Check that the images that are not converted yet fit on the disk."""
    wanted = [_note(folder, params, n, season) for n in numbers for season in params.seasons]
    folder.mkdir(parents=True, exist_ok=True)
    # each note stands for the 64 places of a season, converted
    needed = sum(not note.exists() for note in wanted) * PLACES * SIDE**2 * pixel_bytes
    check_free_disk(folder, needed, f"images of {len(numbers)} shards")


def _images(
    folder: Path, params: SSL4EOParams, data: Path | None, number: int, keep: bool
) -> Iterator[Image]:
    """Yield the images of a shard in the chosen seasons, converted before or now."""
    seasons = [s for s in params.seasons if not _note(folder, params, number, s).exists()]
    if seasons:
        paths = [_shard(folder, params, data, kind, number) for kind in _kinds(params)]
        s1, s2 = (read_shard(path) for path in paths)
        for season in seasons:
            inner = f"images/{params.part}/{number:06d}"
            found = convert(s1, s2, season, params.offset, folder, inner)
            text = json.dumps([asdict(image) for image in found], indent=1) + "\n"
            write_text(_note(folder, params, number, season), text)
        if data is None and not keep:
            for path in paths:
                path.unlink()
    for season in params.seasons:
        for fields in json.loads(_note(folder, params, number, season).read_text()):
            yield Image(**fields)


def _kinds(params: SSL4EOParams) -> tuple[str, str]:
    return "S1GRD", f"S2{params.level}"


def _note(folder: Path, params: SSL4EOParams, number: int, season: int) -> Path:
    """Return the file that describes the images of a shard, written once all are there."""
    kind = f"{params.level}_{params.offset}_{season}"
    return folder / "archives" / f"{params.part}_{number:06d}_{kind}.json"


def _shard(folder: Path, params: SSL4EOParams, data: Path | None, kind: str, number: int) -> Path:
    """Return the file of a shard, downloaded if there is no folder of the user."""
    name = f"{params.part}/{kind}/ssl4eos12_{params.part}_seasonal_data_{number:06d}.zarr.zip"
    if data is None:
        url, target = f"{params.url}/{name}", folder / "archives" / name
        if params.md5s is None:
            return fetch_file(url, target, sha256=stated_sha256(url))
        digests = listed_md5s(params.md5s, [target.name])
        return fetch_file(url, target, md5=digests[target.name])
    if not (data / name).is_file():
        found = content((data / name).parent if (data / name).parent.is_dir() else data)
        raise UserError(f"looked for {data / name}, found {found}; {ADVICE}")
    return data / name


def _report(images: list[Image], clear: list[Image], params: SSL4EOParams) -> None:
    """Print what was assumed about the images, and how many are left out."""
    lifted = sum(image.offset != 0 for image in images)
    lines = [f"{lifted} of {len(images)} images of Sentinel-2 hold the offset of 1000: taken off"]
    moved = sum(image.moved for image in images)
    if moved:
        lines.append(
            f"{moved} images of Sentinel-1 stand at another place than their dates: the sensors "
            "are paired by the dates in the names of their products"
        )
    apart = [image.days for image in images]
    lines.append(
        f"the sensors are up to {max(apart):.1f} days apart, {median(apart):.1f} in median"
    )
    if len(clear) < len(images):
        lines.append(f"{len(images) - len(clear)} images are hidden by more than max_cloud")
    print("\n".join(lines), file=sys.stderr)
    if not clear:
        raise UserError(
            f"clouds hide more than {params.max_cloud} of each of {len(images)} images; raise "
            "sources.ssl4eo.max_cloud"
        )
