"""Audit rules for a data set as a whole: offsets, mask values, and what each split holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pandas as pd

from eocontrast.normalisation.audit import Finding, Severity
from eocontrast.normalisation.ground import audit_ground
from eocontrast.normalisation.pairs import Patch
from eocontrast.normalisation.scales import audit_scales
from eocontrast.rasters.fill import IMPOSSIBLE
from eocontrast.rasters.mask_values import explain, is_shifted
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError

NO_LABELS = (
    "no labelled patch is in the split {}; the column group needs several values, such as blocks "
    "of a scene (`eocontrast start` makes them), or name splits"
)

FEW = 0.01
"""Share of a data set's mask pixels that may have no class without a warning."""


def audit_dataset(source: Source, patches: Sequence[Patch]) -> list[Finding]:
    """Return the findings that only all patches together show."""
    found = [*audit_ground(source, patches), *audit_scales(source, patches)]
    # what masks of published archives hold is known
    return (
        [*found, *_mask_values(source, patches), *_hidden(source, patches)]
        if source.files
        else found
    )


def _mask_values(source: Source, patches: Sequence[Patch]) -> list[Finding]:
    counts = {patch.id: _values(patch) for patch in patches if "values" in patch.evidence}
    total: Counter[int] = Counter()
    for values in counts.values():
        total.update(values)
    classes = set(source.classes.values())
    unnamed = {value: n for value, n in total.most_common() if value not in classes}
    pixels = sum(total.values())
    if not unnamed or not pixels:
        return []
    share = sum(unnamed.values()) / pixels
    nothing, shifted = not set(total) & classes, is_shifted(total, source.classes)
    if share <= FEW and not nothing:
        return []
    shown = ", ".join(f"{value} ({n / pixels:.1%})" for value, n in [*unnamed.items()][:8])
    guess = explain(unnamed, total, source.classes)
    message = (
        f"masks hold values that no class names: {shown}; classes are "
        f"{', '.join(f'{name} {value}' for name, value in source.classes.items())}"
        f"{f' ({guess})' if guess else ''}. Correct sources.manifest.classes, or "
        "declare a value for unlabelled pixels as no data in the masks"
    )
    with_unnamed = [name for name, values in counts.items() if set(values) - classes]
    severity: Severity = "error" if nothing or shifted else "warning"
    return [Finding(name, "mask_values", severity, message) for name in with_unnamed]


def _hidden(source: Source, patches: Sequence[Patch]) -> Iterator[Finding]:
    """Yield what headers of masks declare as no data: such pixels are not labelled."""
    held = [(p.id, *found) for p in patches if (found := p.evidence.get("hidden"))]
    present: Counter[int] = Counter()
    for patch in patches:
        present.update(_values(patch) if "values" in patch.evidence else {})
    pixels = present.total() + sum(count for _, _, count in held)
    for value in dict.fromkeys(value for _, value, _ in held):
        share = sum(count for _, other, count in held if other == value) / pixels
        # of three classes from 0, one that is hidden leaves 1 and 2, which have other names
        shifted = is_shifted({*present, value}, source.classes)
        # 0, ends of types and negative numbers stand for "unlabelled" in published masks
        usual = not shifted and (value <= 0 or value in (255, *IMPOSSIBLE))
        message = (
            f"headers of masks declare {value:g} as no data, which hides {share:.1%} of their "
            "pixels: they have no label"
        )
        # ends of types are no classes, and `start` writes one for ground without a label
        if shifted or value not in IMPOSSIBLE:
            message += (
                f". If {value:g} is a class, unset it (gdal_edit.py -unsetnodata) and name it in "
                "sources.manifest.classes"
            )
        if shifted:
            message += f". With it, {explain({}, {*present, int(value)}, source.classes)}"
        severity: Severity = "note" if usual or share <= FEW else "warning"
        names = [name for name, other, _ in held if other == value]
        yield from (Finding(name, "mask_values", severity, message) for name in names)


def _values(patch: Patch) -> dict[int, int]:
    # keys of JSON are text
    return {int(value): count for value, count in patch.evidence["values"].items()}


def split_table(patches: Sequence[Patch], classes: Sequence[str]) -> pd.DataFrame:
    """Return by split the number of patches, of labelled ones, of groups, and of each class."""
    index = pd.DataFrame([patch.facts for patch in patches])
    labelled = index[index["label"] >= 0]
    table = pd.DataFrame(index=["pretrain", "train", "test"])
    table["patches"] = index["split"].value_counts()
    table["labelled"] = labelled["split"].value_counts()
    table["groups"] = labelled.groupby("split")["group"].nunique()
    for number, name in enumerate(classes):
        column = f"share_{number}"
        if column in labelled:
            table[name] = (labelled[column] > 0).groupby(labelled["split"]).sum()
    return table.fillna(0).astype(int)


def split_gaps(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return what makes a data set useless for fine-tuning, and what makes scores doubtful.

    Args:
        table: As `split_table` returns it.
    """
    classes = [name for name in table.columns if name not in ("patches", "labelled", "groups")]
    if not table["labelled"].sum():
        return ["no patch has a label"], []
    empty = [split for split in ("train", "test") if not table.loc[split, "labelled"]]
    present = [name for name in classes if table[name].sum()]
    errors = [NO_LABELS.format(split) for split in empty]
    if len(present) < 2:
        errors.append(f"only one class has labels ({', '.join(present)}), expected two or more")
    warnings = [
        f"class {name!r} has no patch in the split {split}"
        for split in ("train", "test")
        if split not in empty
        for name in present
        if not table.loc[split, name]
    ]
    if table.loc["test", "groups"] == 1:
        warnings.append(
            "the split test has one group: intervals of scores cannot be computed from it"
        )
    return errors, warnings


def split_report(patches: Sequence[Patch], classes: Sequence[str]) -> str:
    """Return the table of splits as text, and below it a line for each gap."""
    table = split_table(patches, classes)
    kinds = zip(("error", "warning"), split_gaps(table), strict=True)
    gaps = [f"{kind}: {line}" for kind, lines in kinds for line in lines]
    # columns of many classes would not fit on a line
    shown = table if len(table.columns) <= 12 else table.T
    return "\n".join([shown.to_string(), *gaps])


def refuse_empty_splits(manifest: pd.DataFrame) -> None:
    """Refuse a manifest with labels in training only, or in test only, before reading any pixel.

    Raises:
        UserError: a split has no labels.
    """
    counts = manifest.loc[manifest["label"] != "", "split"].value_counts()
    errors = [NO_LABELS.format(split) for split in ("train", "test") if not counts.get(split)]
    if errors:
        shown = ", ".join(f"{count} {split}" for split, count in counts.items()) or "none"
        raise UserError(f"{'; '.join(errors)}. Labelled patches: {shown}")


def refuse_gaps(table: pd.DataFrame) -> None:
    """Refuse a data set that cannot be fine-tuned on and scored.

    Raises:
        UserError: a split has no labels, or only one class has.
    """
    errors, _ = split_gaps(table)
    if errors:
        raise UserError(f"{'; '.join(errors)}. The splits hold:\n{table.to_string()}")
