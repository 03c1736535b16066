"""Files of reBEN: where they are published, and where they lie after unpacking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.runtime.errors import UserError, some
from eocontrast.sources.download.parts import SplitArchive, fetch_members, unpack_members
from eocontrast.sources.download.published import listed_md5s
from eocontrast.sources.download.transfer import fetch_file
from eocontrast.sources.reben_metadata import ADVICE, METADATA
from eocontrast.sources.rois import content

S1, S2, MAPS = "BigEarthNet-S1", "BigEarthNet-S2", "Reference_Maps"
"""Top folders of the archives."""

_MD5 = "55687065e77b6d0b0f1ff604a6e7b49c"

# sum up to 12 bands: level 2A has no B10, the third band of 60 m
_SIDES = (4 * 120**2, 6 * 60**2, 2 * 20**2)  # pixels of the bands at 10, 20 and 60 m

ARCHIVES: dict[str, SplitArchive] = {
    S1: SplitArchive(
        S1,
        {
            "BigEarthNet-S1.tar.gzaa": "039b9ce305fc6582b2c3d60d1573f5b7",
            "BigEarthNet-S1.tar.gzab": "e94f0ea165d04992ca91d8e58e82ec6d",
        },
        2 * 120**2 * 4,
    ),
    S2: SplitArchive(
        S2,
        {
            "BigEarthNet-S2.tar.gzaa": "94e8ed32065234d3ab46353d814778d1",
            "BigEarthNet-S2.tar.gzab": "24c223d9e36166136c13b24a27debe34",
        },
        2 * sum(_SIDES),
    ),
    MAPS: SplitArchive(
        MAPS, {"Reference_Maps.tar.gzaa": "b0cd1f0a31b49fcbfd61d80f963e759d"}, 2 * 120**2
    ),
}
"""Archives of the mirror, by top folder; a patch takes two bytes a pixel, four for Sentinel-1."""

ZSTD: dict[str, SplitArchive] = {
    top: SplitArchive(top, {f"{top}.tar.zst": ""}, archive.size)
    for top, archive in ARCHIVES.items()
}
"""The publisher's own archives, without digests: zstd has its own checksums."""


def patch_folder(name: str) -> str:
    """Return the folder of a patch within the folder of its sensor.

    A scene is called as its patches without column and row, and for Sentinel-1 without the tile.
    """
    return f"{name.rsplit('_', 3 if name.startswith('S1') else 2)[0]}/{name}"


def patch_raster(top: str, name: str) -> str:
    """Return the path of a patch's raster, with `{band}` for the band of images."""
    return f"{top}/{patch_folder(name)}/{name}_{'reference_map' if top == MAPS else '{band}'}.tif"


def fetch_metadata(folder: Path, params: BigEarthNetParams) -> Path:
    """Download the metadata to `folder`, and return it.

    Raises:
        UserError: the file cannot be downloaded, or has another md5.
    """
    md5 = _MD5 if params.md5s is None else listed_md5s(params.md5s, [METADATA])[METADATA]
    fetch_file(f"{params.url}/{METADATA}", folder / METADATA, md5=md5)
    return folder


def provide(
    top: str, names: Sequence[str], data: Path, folder: Path, params: BigEarthNetParams, keep: bool
) -> Path:
    """Return the folder that contains the patches under `top`, downloaded or unpacked if needed.

    Args:
        top: top folder of the patches.
        names: names of the patches.
        data: the user's folder; `folder` if there is none.
        folder: destination for downloads and unpacked archives.
        params: address and digests of the archives.
        keep: whether to keep downloaded archives.

    Raises:
        UserError: an archive cannot be downloaded or unpacked, or patches are missing.
    """
    advice, root = ADVICE, data
    if not isinstance(params.path, Path):
        fetch_members(ARCHIVES[top], names, params.url, params.md5s, folder, keep=keep)
    elif not (data / top).is_dir():
        archives = (ARCHIVES[top], ZSTD[top])
        mine = [a for a in archives if any((data / part).exists() for part in a.parts)]
        if not mine:
            raise UserError(
                f"looked for {top} or its archive in {data}, {top} is missing; found "
                f"{content(data)}; {ADVICE}"
            )
        root = folder
        unpack_members(mine[0], names, data, params.md5s, folder)
    if root == folder:
        note = folder / "archives" / f"{top}.unpacked"
        advice += f"; remove {note} to unpack the archive again"
    _check_present(root / top, names, advice)
    return root


def has_maps(data: Path, params: BigEarthNetParams) -> bool:
    """Return whether there are reference maps, in a folder or an archive."""
    parts = (*ARCHIVES[MAPS].parts, *ZSTD[MAPS].parts)
    return not isinstance(params.path, Path) or any(
        (data / name).exists() for name in (MAPS, *parts)
    )


def _check_present(folder: Path, names: Sequence[str], advice: str) -> None:
    # one listing per tile: half a million look-ups take minutes on a network disk
    wanted = [patch_folder(name) for name in names]
    scenes = {name.partition("/")[0] for name in wanted}
    present = {
        f"{scene}/{patch.name}"
        for scene in scenes
        if (folder / scene).is_dir()
        for patch in (folder / scene).iterdir()
    }
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(wanted)} patches of {METADATA} are not in {folder}: "
            f"{some(missing)}; unpack those too, or choose countries and tiles; {advice}"
        )
