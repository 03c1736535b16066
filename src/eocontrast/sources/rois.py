"""The folders in which SEN12MS and DFC2020 come: one a region of interest, kind and scene.

A raster is `<roi>/<kind>_<scene>/<roi>_<kind>_<scene>_p<number>.tif`; its kind is `s1`, `s2`, `lc`
or `dfc`. Only names are read here: SEN12MS has half a million files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eocontrast.errors import UserError

LISTED = 5
"""Names that a message tells of a folder's content."""


@dataclass(frozen=True)
class RoiPatch:
    """One place: its numbers as they stand in the names of its rasters."""

    roi: str
    scene: str
    number: str

    @property
    def name(self) -> str:
        """What its rasters are called, less their kind."""
        return f"{self.roi}_{self.scene}_p{self.number}"

    @property
    def order(self) -> tuple[int, int]:
        """By scene, then patch, as people count."""
        return int(self.scene), int(self.number)

    def path(self, kind: str) -> str:
        """Of one raster, relative to the data set's folder."""
        stem = f"{self.roi}_{kind}_{self.scene}_p{self.number}"
        return f"{self.roi}/{kind}_{self.scene}/{stem}.tif"


def data_folder(path: Path) -> Path:
    """What a path of params.yaml means: absolute, `~` being the user's home."""
    return path.expanduser().absolute()


def find_patches(folder: Path, roi: str, kinds: Sequence[str], advice: str) -> list[RoiPatch]:
    """The patches of one region of interest that have a raster of every kind, in natural order.

    Args:
        folder: of the data set.
        roi: folder in it, such as `ROIs1158_spring`.
        kinds: rasters that every patch must have.
        advice: which parameter names the folder and where the data are to be had.

    Raises:
        UserError: there is no patch, or one lacks a raster.
    """
    found = {kind: _listed(folder, roi, kind) for kind in kinds}
    patches = set[RoiPatch]().union(*found.values())
    if not patches:
        wanted = RoiPatch(roi, "<scene>", "<number>")
        raise UserError(
            f"looked for {' and '.join(wanted.path(kind) for kind in kinds)} in {folder}, found "
            f"{_content(folder, roi)}; {advice}"
        )
    ordered = sorted(patches, key=lambda patch: (patch.order, patch.name))
    for kind in kinds:
        lacking = [patch for patch in ordered if patch not in found[kind]]
        if lacking:
            raise UserError(
                f"{folder / lacking[0].path(kind)} is missing, but patch {lacking[0].name} has "
                f"other rasters; {len(lacking)} of {len(ordered)} patches of {roi} lack their "
                f"{kind}: unpack those too, or move the others away; {advice}"
            )
    return ordered


def _listed(folder: Path, roi: str, kind: str) -> set[RoiPatch]:
    """Patches that have a raster of this kind; files of other names are none of ours."""
    name = re.compile(rf"{re.escape(roi)}_{kind}_(\d+)_p(\d+)\.tif")
    patches = set()
    for path in (folder / roi).glob(f"{kind}_*/{roi}_{kind}_*.tif"):
        match = name.fullmatch(path.name)
        if match and path.parent.name == f"{kind}_{match[1]}":
            patches.add(RoiPatch(roi, match[1], match[2]))
    return patches


def _content(folder: Path, roi: str) -> str:
    """A few words on what is there instead."""
    within = folder / roi if (folder / roi).is_dir() else folder
    if not within.is_dir():
        return "a file" if within.exists() else "no such folder"
    names = sorted(entry.name for entry in within.iterdir())
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"in {within.name}: {', '.join(names[:LISTED]) or 'nothing'}{more}"
