"""Model cards: what a weight file is, for whoever finds it without the project around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eocontrast.bootstrap import Interval, group_intervals
from eocontrast.inputs import InputSpec
from eocontrast.modalities import Sensor
from eocontrast.weights import Pretrained

if TYPE_CHECKING:
    from eocontrast.evaluation import Evaluation
    from eocontrast.label_curve import ArmCurve

SCORES = "## Scores on the label curve"

_METHODS = {
    "dual_simclr": "Dual-SimCLR: contrast between Sentinel-1 and Sentinel-2 of one place",
    "simclr": "SimCLR: contrast between two augmented views of one image",
    "mma": "MMA: multimodal alignment of spatial feature maps",
    "imported": "imported: trained elsewhere, with this project's input specification added",
    "random": "random: no pretraining, the file holds an input specification and no weights",
}

_COLUMNS = ("arm", "task", "metric", "fraction", "labels", "value", "95 % interval")


def pretrained_card(pretrained: Pretrained, provenance: Mapping[str, str]) -> str:
    """The card of a file of pretrained backbones, in Markdown.

    Args:
        pretrained: as loaded; all but `provenance` comes from its header.
        provenance: what the file does not hold, by what it is called: commit, hardware, date.
    """
    title = f"# {pretrained.architecture.name}, pretrained by {pretrained.method}"
    what = _METHODS.get(pretrained.method, pretrained.method)
    sensors = " and ".join(pretrained.specs)
    parts = [
        f"{title}\n\n{what[0].upper()}{what[1:]}.",
        _section("What it is", _facts(pretrained, sensors)),
        _section("What it expects", _inputs(pretrained.specs)),
        *_how_to_load(pretrained),
        _section("How it was made", _making(pretrained)),
        _section("Provenance", _table(("", ""), list(provenance.items()))),
        _section("Intended use and limits", _LIMITS),
        _section("Licence", _LICENCE),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def with_scores(card: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The card with a table of scores, in the place of one that it has already.

    Args:
        card: Markdown.
        rows: `arm, task, metric, fraction, labels, value`, and `low` and `high` of the interval.
            Without any, the section is left out.
    """
    before, found, rest = card.partition(f"{SCORES}\n")
    following = re.search(r"^## ", rest, re.MULTILINE) if found else None
    after = rest[following.start() :] if following else ""
    section = f"{SCORES}\n\n{_table(_COLUMNS, [_score(row) for row in rows])}" if rows else ""
    kept = (part.strip() for part in (before, section, after))
    return "\n\n".join(part for part in kept if part) + "\n"


def add_scores(folder: Path, curves: Mapping[str, ArmCurve]) -> None:
    """Put the scores of every arm into the card of the weights that it started from.

    Args:
        folder: of pretrained weights; a card that is not there is not made up.
        curves: of the arms, by name.
    """
    for card in sorted(folder.glob("*.md")):
        own = [curve for curve in curves.values() if curve.result.init == card.stem]
        card.write_text(with_scores(card.read_text(), [row for c in own for row in _rows(c)]))


def _rows(curve: ArmCurve) -> list[dict[str, Any]]:
    arm = curve.result
    named = {"arm": arm.name, "task": arm.task, "metric": arm.metric}
    points = zip(curve.fractions, curve.n_labels, curve.intervals, strict=True)
    return [
        {**named, "fraction": fraction, "labels": int(n), **asdict(interval)}
        for fraction, n, interval in points
    ]


def finetuned_card(evaluations: Sequence[Evaluation], made: Mapping[str, str]) -> str:
    """The card of a fine-tuned file, in Markdown.

    Args:
        evaluations: of the test split, with all sensors first.
        made: what the file does not hold, by what it is called: commit, hardware, date.
    """
    whole = evaluations[0]
    intervals = group_intervals(whole.tally, whole.task.exclusive, samples=1000)
    metric = whole.task.metric
    alone = {other.inputs: other.scores[metric] for other in evaluations[1:]}
    return card_of_header(whole.header, intervals, metric, alone, made)


def card_of_header(
    header: Mapping[str, Any],
    intervals: Mapping[str, Interval],
    metric: str,
    alone: Mapping[str, float],
    made: Mapping[str, str],
) -> str:
    """The same from the file's header and the scores.

    Args:
        header: of the file.
        intervals: by score, over test groups.
        metric: the score that arms of the task are compared by.
        alone: that score by the sensor that was given alone.
        made: as above; without anything the card has no section of it.
    """
    specs: dict[Sensor, InputSpec] = {
        sensor: InputSpec.from_dict(fields) for sensor, fields in header["inputs"].items()
    }
    facts = ("task", "head", "init", "fusion", "frozen", "fraction", "n_labels", "n_pixels", "seed")
    rows = [(name, _plain(header[name])) for name in facts]
    rows.append(("classes", ", ".join(header["classes"])))
    parts = [
        f"# {header['architecture']['name']}, fine-tuned for {header['task']}",
        _section("What it is", _table(("", ""), rows)),
        _section("What it expects", _inputs(specs)),
        _section("Scores on the test split", _scored(intervals, metric, alone)),
        _section("How it was made", _table(("", ""), [("data digest", header["data_digest"])])),
        _section("Provenance", _table(("", ""), list(made.items()))),
        _section("Intended use and limits", _LIMITS),
        _section("Licence", _LICENCE),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scored(intervals: Mapping[str, Interval], metric: str, alone: Mapping[str, float]) -> str:
    rows = [
        (name, f"{i.value:.3f}", f"{i.low:.3f} to {i.high:.3f}") for name, i in intervals.items()
    ]
    scores = _table(("score", "value", "95 % interval over test groups"), rows)
    if not alone:
        return scores
    of_one = [(f"{sensor} alone", f"{value:.3f}", "") for sensor, value in alone.items()]
    return f"{scores}\n\n{metric} of one sensor:\n\n{_table(('sensor', metric, ''), of_one)}"


_LIMITS = """\
Meant as a start for fine-tuning, or as a frozen source of features, on images of the sensors, bands
and units above at a similar pixel size. Not meant for images of other bands or units: the features
of these look as smooth and mean nothing.

The backbones know the places, seasons and sensors of the data they were trained on, which the
digest above names, and nothing else. Weights that were trained on simulated scenes are no evidence
for real ones: they show that a method works as implemented. Scores hold for the test regions that
they were measured on; check on labels of your own before you rely on a map."""

_LICENCE = """\
The weights come under the terms of the data they were trained on. The code that made and loads them
is licensed under Apache-2.0."""


def _facts(pretrained: Pretrained, sensors: str) -> str:
    options = pretrained.architecture.options
    rows = [
        ("method", pretrained.method),
        ("architecture", f"timm `{pretrained.architecture.name}`"),
        ("options", _code(options) if options else "none"),
        ("backbones", f"one each of {sensors}" if len(pretrained.specs) > 1 else sensors),
    ]
    return _table(("", ""), rows)


def _inputs(specs: Mapping[Sensor, InputSpec]) -> str:
    return "\n\n".join(_expected(sensor, spec) for sensor, spec in specs.items())


def _expected(sensor: Sensor, spec: InputSpec) -> str:
    low, high = spec.modality.valid_range
    units = "dB" if spec.modality.units == "linear" else spec.modality.units
    of_crop = spec.scaling == "crop_maximum"
    how = (
        f"each band of each crop, counted from {low:g}, over its own maximum"
        if of_crop
        else "minus the mean, over the sd, band by band"
    )
    said = (
        f"`{sensor}` in {spec.modality.units}, clipped to {low:g} to {high:g} {units}, patches of "
        f"{spec.patch_size} px; scaling `{spec.scaling}`: {how}. No data is NaN."
    )
    if of_crop:
        return f"{said}\n\n{_table(('band',), [(band,) for band in spec.modality.bands])}"
    rows = zip(spec.modality.bands, map(_number, spec.mean), map(_number, spec.sd), strict=True)
    return f"{said}\n\n{_table(('band', f'mean ({units})', f'sd ({units})'), list(rows))}"


def _how_to_load(pretrained: Pretrained) -> list[str]:
    if not pretrained.trained:
        return []
    sensor = pretrained.trained[-1]
    modality = pretrained.specs[sensor].modality
    code = f"""\
```python
backbone = eocontrast.load_backbone("weights.safetensors", "{sensor}")
images = backbone.input_spec.prepare(values, bands={list(modality.bands)}, units="{modality.units}")
features = backbone(images)
```"""
    note = "`backbone` is a timm model in eval mode; `values` has the shape (images, bands, H, W)."
    return [_section("How to load it", f"{code}\n\n{note}")]


def _making(pretrained: Pretrained) -> str:
    rows = [
        ("data digest", pretrained.digest or "unknown"),
        ("patches", str(pretrained.patches or "unknown")),
        *((name, _plain(value)) for name, value in pretrained.run.items()),
    ]
    made = _table(("", ""), rows)
    if not pretrained.health:
        return made
    measured = _table(("", ""), [(k, _number(v)) for k, v in pretrained.health.items()])
    return f"{made}\n\nMetrics of the last epoch, of embeddings on held-out pairs:\n\n{measured}"


def _score(row: Mapping[str, Any]) -> tuple[str, ...]:
    named = [_plain(row[name]) for name in ("arm", "task", "metric", "fraction", "labels")]
    interval = f"{row['low']:.3f} to {row['high']:.3f}"
    return (*named, f"{row['value']:.3f}", interval)


def _section(heading: str, body: str) -> str:
    return f"## {heading}\n\n{body}" if body else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or nothing where there are no rows."""
    if not rows:
        return ""
    return "\n".join(map(_row, (columns, ["---"] * len(columns), *rows)))


def _row(cells: Iterable[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _code(value: object) -> str:
    return f"`{json.dumps(value)}`"


def _number(value: float) -> str:
    return f"{value:.6g}"
