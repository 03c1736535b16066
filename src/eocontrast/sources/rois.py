"""The folders in which SEN12MS and DFC2020 come: one a region of interest, kind and scene.

A raster's name is `<roi>_<kind>_<scene>_p<number>.tif` everywhere, the kind being `s1`, `s2`, `lc`
or `dfc`; the folders around it differ from archive to archive. Only names are read here: SEN12MS
has half a million files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eocontrast.runtime.errors import UserError

LISTED = 5
"""Names that a message tells of a folder's content."""

BY_SCENE = "{roi}/{kind}_{scene}"
"""The folder of a raster in SEN12MS; other layouts are written likewise, `half` being what follows
the underscore of the region of interest."""

_SCENE = r"\d+|[A-Z][A-Za-z]*"  # a number, or a place such as MexicoCity
_FOLDER = re.compile(rf"(ROIs\d+_[a-z]+)/(?:s1|s2|lc|dfc)_({_SCENE})")
_NAME = re.compile(rf"(ROIs\d+_[a-z]+)_(?:(?:s1|s2|lc|dfc)_)?({_SCENE})_p(\d+)(?:\.tif)?")


@dataclass(frozen=True)
class RoiPatch:
    """One place: its numbers as they stand in the names of its rasters, and where these lie."""

    roi: str
    scene: str
    number: str
    layout: str = BY_SCENE

    @property
    def name(self) -> str:
        """What its rasters are called, less their kind."""
        return f"{self.roi}_{self.scene}_p{self.number}"

    @property
    def order(self) -> tuple[int, str, int]:
        """By scene, then patch, as people count; named scenes by their name."""
        numbered = self.scene.isdigit()
        return int(self.scene) if numbered else 0, "" if numbered else self.scene, int(self.number)

    def path(self, kind: str) -> str:
        """Of one raster, relative to the data set's folder."""
        half = self.roi.partition("_")[2]
        folder = self.layout.format(roi=self.roi, kind=kind, scene=self.scene, half=half)
        return f"{folder}/{self.roi}_{kind}_{self.scene}_p{self.number}.tif"


def data_folder(path: Path) -> Path:
    """What a path of params.yaml means: absolute, `~` being the user's home."""
    return path.expanduser().absolute()


def patch_name(text: str) -> str | None:
    """The name of the patch that a patch's name, a raster's name or a raster's path speaks of."""
    match = _NAME.fullmatch(re.split(r"[/\\]", text.strip())[-1])
    return f"{match[1]}_{match[2]}_p{match[3]}" if match else None


def scene_name(text: str) -> str | None:
    """What the patches of a scene are called, less their number, of a path to its folder."""
    match = _FOLDER.fullmatch("/".join(re.split(r"[/\\]", text.strip())[-2:]))
    return f"{match[1]}_{match[2]}" if match else None


def find_patches(
    folder: Path,
    roi: str,
    kinds: Sequence[str],
    advice: str,
    layouts: Sequence[str] = (BY_SCENE,),
) -> list[RoiPatch]:
    """The patches of one region of interest that have a raster of every kind, in natural order.

    Args:
        folder: of the data set.
        roi: region in it, such as `ROIs1158_spring`.
        kinds: rasters that every patch must have.
        advice: which parameter names the folder and where the data are to be had.
        layouts: of the folders, to be tried all.

    Raises:
        UserError: there is no patch, one lacks a raster, or two layouts hold patches.
    """
    patches = look_for_patches(folder, roi, kinds, advice, layouts)
    if not patches:
        wanted = [RoiPatch(roi, "<scene>", "<number>", layout) for layout in layouts]
        raise UserError(
            f"looked for {expected(wanted, kinds)} in {folder}, found {content(folder, roi)}; "
            f"{advice}"
        )
    return patches


def look_for_patches(
    folder: Path, roi: str, kinds: Sequence[str], advice: str, layouts: Sequence[str]
) -> list[RoiPatch]:
    """The same where there need not be any.

    Raises:
        UserError: a patch lacks a raster, or two layouts hold patches.
    """
    found = {
        layout: {kind: _listed(folder, roi, kind, layout) for kind in kinds} for layout in layouts
    }
    used = [layout for layout in layouts if any(found[layout].values())]
    if len(used) > 1:
        first, second = (next(iter(set().union(*found[layout].values()))) for layout in used[:2])
        raise UserError(
            f"{folder} holds patches of {roi} twice, as {first.path(kinds[0])} and as "
            f"{second.path(kinds[0])}: move one of the two away; {advice}"
        )
    return _complete(folder, roi, found[used[0]], advice) if used else []


def expected(wanted: Sequence[RoiPatch], kinds: Sequence[str]) -> str:
    """The paths that were looked for, in words."""
    return ", or ".join(" and ".join(patch.path(kind) for kind in kinds) for patch in wanted)


def content(folder: Path, roi: str = "") -> str:
    """A few words on what is there instead."""
    within = folder / roi if (folder / roi).is_dir() else folder
    if not within.is_dir():
        return "a file" if within.exists() else "no such folder"
    names = sorted(entry.name for entry in within.iterdir())
    return f"in {within.name}: {_in_short(names) or 'nothing'}"


def _in_short(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def _complete(
    folder: Path, roi: str, found: dict[str, set[RoiPatch]], advice: str
) -> list[RoiPatch]:
    """All patches in natural order, each of which has every kind."""
    patches = set[RoiPatch]().union(*found.values())
    ordered = sorted(patches, key=lambda patch: (patch.order, patch.name))
    for kind, having in found.items():
        lacking = [patch for patch in ordered if patch not in having]
        if lacking:
            first, *others = (patch.name for patch in lacking)
            named = f" ({_in_short([first, *others])})" if others else ""
            raise UserError(
                f"{folder / lacking[0].path(kind)} is missing, but patch {first} has other "
                f"rasters; {len(lacking)} of {len(ordered)} patches of {roi} lack their {kind}"
                f"{named}: unpack those too, or move the others away; {advice}"
            )
    return ordered


def _listed(folder: Path, roi: str, kind: str, layout: str) -> set[RoiPatch]:
    """Patches that have a raster of this kind; files of other names are none of ours."""
    name = re.compile(rf"{re.escape(roi)}_{kind}_({_SCENE})_p(\d+)\.tif")
    half = roi.partition("_")[2]
    patches = set()
    for path in folder.glob(
        f"{layout.format(roi=roi, kind=kind, scene='*', half=half)}/{roi}_{kind}_*.tif"
    ):
        match = name.fullmatch(path.name)
        patch = match and RoiPatch(roi, match[1], match[2], layout)
        if patch and folder / patch.path(kind) == path:
            patches.add(patch)
    return patches
