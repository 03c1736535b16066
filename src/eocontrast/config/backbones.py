"""Check that the backbones of params.yaml exist and take images of the sizes that they will get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eocontrast.config.params import Params
from eocontrast.config.pretraining import ContrastiveRun, ImportedRun, MMARun, RandomRun
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text

# follow the publishers: reBEN cuts 1.2 km in pixels of 10 m, SEN12MS and DFC2020 have 256 px
_SIDES = {"bigearthnet": 120, "sen12ms": 256, "dfc2020": 256}
"""Pixels along a side of the patches of published data sets."""


def check_backbones(params: Params, file: Path) -> None:
    """Build each model that a run or an arm uses, and give it one image of every size in use.

    The result is kept, because importing torch and timm takes five seconds.

    Args:
        params: Checked parameters.
        file: JSON with the models that passed, to write; equal models are not built again.

    Raises:
        UserError: timm has no such model, or it does not take its options or images.
    """
    uses = {
        name: {**backbone.model_dump(), "sides": _sides(params, name)}
        for name, backbone in params.backbones.items()
    }
    # another version may refuse what this one took
    made_by = {package: version(package) for package in ("timm", "torch")}
    text = json.dumps({**made_by, **uses}, indent=1, sort_keys=True) + "\n"
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    for name, described in uses.items():
        _check(name, described)
    write_text(file, text)


def _sides(params: Params, backbone: str) -> dict[str, list[int]]:
    """Return the sizes of images by the part of a backbone that they are given to."""
    uses = sorted(set(_uses(params, backbone)))
    return {part: [side for of, side in uses if of == part] for part, _ in uses}


def _uses(params: Params, backbone: str) -> Iterator[tuple[str, int]]:
    """Yield every use of a backbone: `features`, `maps` or a head, and the size in pixels."""
    finetune = params.data.finetune
    patch = _SIDES.get(finetune) or getattr(getattr(params.sources, finetune), "patch_size", 0)
    arms = [*params.label_curve.named_arms.values(), params.single_arm]
    for name, run in params.pretrain.runs.items():
        # the file of imported weights says to which size it resizes images
        if run.backbone != backbone or isinstance(run, ImportedRun):
            continue
        if isinstance(run, ContrastiveRun):
            yield ("maps" if isinstance(run, MMARun) else "features"), run.crop
        for arm in arms:
            if arm.init != name:
                continue
            # the SwinUNet is none of the decoders that `check_sizes` builds
            decoded = arm.task == "segmentation" and arm.head != "swin_unet"
            part = arm.head if decoded else "features"
            crop = getattr(params.finetune.recipe, arm.task).crop
            # frozen backbones see whole patches alone
            # 0 is no size: patches of data that are not there yet, or no crop
            yield from ((part, side) for side in (0 if arm.frozen else crop, patch) if side)
        if isinstance(run, RandomRun):
            yield "features", patch or params.finetune.recipe.classification.crop


def _check(name: str, described: dict[str, Any]) -> None:
    from eocontrast.models.backbones import Architecture
    from eocontrast.models.sizes import check_sizes

    architecture = Architecture(described["name"], described["options"])
    for part, sides in described["sides"].items():
        try:
            check_sizes(architecture, part, sides)
        except UserError as error:
            raise UserError(f"backbones.{name} in params.yaml: {error}") from error
