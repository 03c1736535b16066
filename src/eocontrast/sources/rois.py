"""File names of SEN12MS and DFC2020.

A raster is always called `<roi>_<kind>_<scene>_p<number>.tif`, where the kind is `s1`, `s2`, `lc`
or `dfc`. Its folder differs between archives. This module reads names only, because SEN12MS has
half a million files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eocontrast.config.sources import Season
from eocontrast.runtime.errors import UserError, some

ROIS: dict[Season, str] = {
    "spring": "ROIs1158_spring",
    "summer": "ROIs1868_summer",
    "fall": "ROIs1970_fall",
    "winter": "ROIs2017_winter",
}
"""Folders of the seasons of SEN12MS."""

BY_SCENE = "{roi}/{kind}_{scene}"
"""Folder of a raster in SEN12MS. Other layouts are templates of the same fields; `{half}` is the
part of the region of interest after the underscore."""

_SCENE = r"\d+|[A-Z][A-Za-z]*"  # a number, or a place such as MexicoCity
_FOLDER = re.compile(rf"(ROIs\d+_[a-z]+)/(?:s1|s2|lc|dfc)_({_SCENE})")
_NAME = re.compile(rf"(ROIs\d+_[a-z]+)_(?:(?:s1|s2|lc|dfc)_)?({_SCENE})_p(\d+)(?:\.tif)?")


@dataclass(frozen=True)
class RoiPatch:
    """A patch as its rasters are named, and the layout of their folders."""

    roi: str
    scene: str
    number: str
    layout: str = BY_SCENE

    @property
    def name(self) -> str:
        """Name of its rasters without their kind."""
        return f"{self.roi}_{self.scene}_p{self.number}"

    @property
    def order(self) -> tuple[int, str, int]:
        """Sort key: scene, then patch, both by number; named scenes by name."""
        numbered = self.scene.isdigit()
        return int(self.scene) if numbered else 0, "" if numbered else self.scene, int(self.number)

    def path(self, kind: str) -> str:
        """Return the path of one raster relative to the data set's folder."""
        folder = _folder(self.layout, self.roi, kind, self.scene)
        return f"{folder}/{self.roi}_{kind}_{self.scene}_p{self.number}.tif"


def data_folder(path: Path) -> Path:
    """Return a path of params.yaml as an absolute one; `~` is the user's home."""
    return path.expanduser().absolute()


def patch_name(text: str) -> str | None:
    """Return the patch that a patch name, a raster name or a raster path refers to."""
    match = _NAME.fullmatch(re.split(r"[/\\]", text.strip())[-1])
    return f"{match[1]}_{match[2]}_p{match[3]}" if match else None


def scene_name(text: str) -> str | None:
    """Return the scene that a path to its folder refers to."""
    match = _FOLDER.fullmatch("/".join(re.split(r"[/\\]", text.strip())[-2:]))
    return f"{match[1]}_{match[2]}" if match else None


def find_patches(
    folder: Path, roi: str, kinds: Sequence[str], advice: str, layouts: Sequence[str] = (BY_SCENE,)
) -> list[RoiPatch]:
    """Return the patches of one region of interest in natural order; at least one.

    Args:
        folder: folder of the data set.
        roi: region in it, such as `ROIs1158_spring`.
        kinds: rasters that every patch must have.
        advice: end of error messages: the parameter to change and the address of the data.
        layouts: folder layouts to try.

    Raises:
        UserError: there is no patch, a patch has no raster of some kind, or two layouts have
            patches.
    """
    patches = find_optional_patches(folder, roi, kinds, advice, layouts)
    if not patches:
        wanted = [RoiPatch(roi, "<scene>", "<number>", layout) for layout in layouts]
        raise UserError(
            f"looked for {expected(wanted, kinds)} in {folder}, found {content(folder, roi)}; "
            f"{advice}"
        )
    return patches


def find_optional_patches(
    folder: Path, roi: str, kinds: Sequence[str], advice: str, layouts: Sequence[str]
) -> list[RoiPatch]:
    """Return the patches as `find_patches` does, or none.

    Raises:
        UserError: a patch has no raster of some kind, or two layouts have patches.
    """
    patches = {
        layout: {kind: _listed(folder, roi, kind, layout) for kind in kinds} for layout in layouts
    }
    used = [layout for layout in layouts if any(patches[layout].values())]
    if len(used) > 1:
        first, second = (next(iter(set().union(*patches[layout].values()))) for layout in used[:2])
        raise UserError(
            f"{folder} has the patches of {roi} twice, as {first.path(kinds[0])} and as "
            f"{second.path(kinds[0])}; move one of the two away. {advice}"
        )
    return _complete(folder, roi, patches[used[0]], advice) if used else []


def expected(wanted: Sequence[RoiPatch], kinds: Sequence[str]) -> str:
    """Describe the paths that were looked for."""
    return ", or ".join(" and ".join(patch.path(kind) for kind in kinds) for patch in wanted)


def content(folder: Path, roi: str = "") -> str:
    """Describe what a folder contains instead of the data set."""
    inner = folder / roi if (folder / roi).is_dir() else folder
    if not inner.is_dir():
        return "a file" if inner.exists() else "no such folder"
    names = sorted(entry.name for entry in inner.iterdir())
    return f"in {inner.name}: {some(names) or 'nothing'}"


def _complete(
    folder: Path, roi: str, patches: dict[str, set[RoiPatch]], advice: str
) -> list[RoiPatch]:
    """Return all patches in natural order after checking that each has every kind."""
    # natural order: patch 9 comes before patch 10, so rows do not depend on the file system
    ordered = sorted(set[RoiPatch]().union(*patches.values()), key=lambda p: (p.order, p.name))
    for kind, present in patches.items():
        missing = [patch for patch in ordered if patch not in present]
        if missing:
            names = some([patch.name for patch in missing])
            raise UserError(
                f"{folder / missing[0].path(kind)} is missing: {len(missing)} of {len(ordered)} "
                f"patches of {roi} have other rasters but no {kind} ({names}). Unpack those too, "
                f"or move the others away; {advice}"
            )
    return ordered


def _folder(layout: str, roi: str, kind: str, scene: str) -> str:
    return layout.format(roi=roi, kind=kind, scene=scene, half=roi.partition("_")[2])


def _listed(folder: Path, roi: str, kind: str, layout: str) -> set[RoiPatch]:
    """Return the patches that have a raster of this kind; other file names are ignored."""
    name = re.compile(rf"{re.escape(roi)}_{kind}_({_SCENE})_p(\d+)\.tif")
    patches = set()
    for path in folder.glob(f"{_folder(layout, roi, kind, '*')}/{roi}_{kind}_*.tif"):
        match = name.fullmatch(path.name)
        patch = match and RoiPatch(roi, match[1], match[2], layout)
        if patch and folder / patch.path(kind) == path:
            patches.add(patch)
    return patches
