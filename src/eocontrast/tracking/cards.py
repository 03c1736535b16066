"""Model cards: what a weight file is, for whoever finds it without the project around it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eocontrast.curve.bootstrap import group_intervals
from eocontrast.modalities import Sensor
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.tracking.markdown import plain, section, table

if TYPE_CHECKING:
    from eocontrast.evaluation.evaluate import Evaluation

_METHODS = {
    "dual_simclr": "Dual-SimCLR: contrast between Sentinel-1 and Sentinel-2 of one place",
    "simclr": "SimCLR: contrast between two augmented views of one image",
    "mma": "MMA: multimodal alignment of spatial feature maps",
    "imported": "imported: trained elsewhere, with this project's input specification added",
    "random": "random: no pretraining, the file holds an input specification and no weights",
}


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
        section("What it is", _facts(pretrained, sensors)),
        section("What it expects", _inputs(pretrained.specs)),
        *_how_to_load(pretrained),
        section("How it was made", _making(pretrained)),
        section("Provenance", table(("", ""), list(provenance.items()))),
        section("Intended use and limits", _LIMITS),
        section("Licence", _licence(pretrained.data)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def finetuned_card(evaluations: Sequence[Evaluation], made: Mapping[str, str]) -> str:
    """The card of a fine-tuned file, in Markdown.

    Args:
        evaluations: of the test split, with all sensors first.
        made: what the file does not hold, by what it is called: commit, hardware, date.
    """
    header = evaluations[0].header
    specs: dict[Sensor, InputSpec] = {
        sensor: InputSpec.from_dict(fields) for sensor, fields in header["inputs"].items()
    }
    facts = ("task", "head", "init", "fusion", "frozen", "fraction", "n_labels", "n_pixels", "seed")
    rows = [(name, plain(header[name])) for name in facts]
    rows.append(("classes", ", ".join(header["classes"])))
    parts = [
        f"# {header['architecture']['name']}, fine-tuned for {header['task']}",
        section("What it is", table(("", ""), rows)),
        section("What it expects", _inputs(specs)),
        section("Scores on the test split", _scored(evaluations)),
        section("How it was made", table(("", ""), _data(header["data"], header["data_digest"]))),
        section("Provenance", table(("", ""), list(made.items()))),
        section("Intended use and limits", _LIMITS),
        section("Licence", _licence(header["data"])),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _scored(evaluations: Sequence[Evaluation]) -> str:
    whole, metric = evaluations[0], evaluations[0].task.metric
    intervals = group_intervals(whole.tally, whole.task.exclusive, samples=1000)
    rows = [
        (name, f"{i.value:.3f}", f"{i.low:.3f} to {i.high:.3f}") for name, i in intervals.items()
    ]
    scores = table(("score", "value", "95 % interval over test groups"), rows)
    if len(evaluations) == 1:
        return scores
    of_one = [(f"{e.inputs} alone", f"{e.scores[metric]:.3f}", "") for e in evaluations[1:]]
    return f"{scores}\n\n{metric} of one sensor:\n\n{table(('sensor', metric, ''), of_one)}"


_LIMITS = """\
Meant as a start for fine-tuning, or as a frozen source of features, on images of the sensors, bands
and units above at a similar pixel size. Not meant for images of other bands or units: the features
of these look as smooth and mean nothing.

The backbones know the places, seasons and sensors of the data they were trained on, which the
digest above names, and nothing else. Weights that were trained on simulated scenes are no evidence
for real ones: they show that a method works as implemented. Scores hold for the test regions that
they were measured on; check on labels of your own before you rely on a map."""


def _data(data: Mapping[str, str], digest: str) -> list[tuple[str, str]]:
    return [("data", data.get("name", "unknown")), ("data digest", digest or "unknown")]


def _licence(data: Mapping[str, str]) -> str:
    return (
        "The weights come under the terms of the data they were trained on: "
        f"{data.get('licence', 'unknown')}. The code that made and loads them is licensed under "
        "Apache-2.0."
    )


def _facts(pretrained: Pretrained, sensors: str) -> str:
    options = pretrained.architecture.options
    rows = [
        ("method", pretrained.method),
        ("architecture", f"timm `{pretrained.architecture.name}`"),
        ("options", _code(options) if options else "none"),
        ("backbones", f"one each of {sensors}" if len(pretrained.specs) > 1 else sensors),
    ]
    return table(("", ""), rows)


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
        return f"{said}\n\n{table(('band',), [(band,) for band in spec.modality.bands])}"
    rows = zip(spec.modality.bands, map(_number, spec.mean), map(_number, spec.sd), strict=True)
    return f"{said}\n\n{table(('band', f'mean ({units})', f'sd ({units})'), list(rows))}"


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
    return [section("How to load it", f"{code}\n\n{note}")]


def _making(pretrained: Pretrained) -> str:
    rows = [
        *_data(pretrained.data, pretrained.digest),
        ("patches", str(pretrained.patches or "unknown")),
        *((name, plain(value)) for name, value in pretrained.run.items()),
    ]
    made = table(("", ""), rows)
    if not pretrained.health:
        return made
    measured = table(("", ""), [(k, _number(v)) for k, v in pretrained.health.items()])
    return f"{made}\n\nMetrics of the last epoch, of embeddings on held-out pairs:\n\n{measured}"


def _code(value: object) -> str:
    return f"`{json.dumps(value)}`"


def _number(value: float) -> str:
    return f"{value:.6g}"
