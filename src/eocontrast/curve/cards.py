"""Model cards: descriptions of weight files for people who find them without this project."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData

from eocontrast.curve.label_curve import ArmCurve
from eocontrast.models.weights import Origin, Pretrained
from eocontrast.published.catalogue import OPEN_LICENCES

_HUB_LICENCES = {"apache-2.0", "cc-by-4.0", "cdla-permissive-1.0", "mit", "unknown"}
_LIMITS = """\
Use the weights as a start for fine-tuning or as a frozen source of features, on images of the
sensors, bands and units above at a similar pixel size. Other bands or units give features that
look as smooth and mean nothing. The weights reflect the places, seasons and sensors of their
training data. Weights trained on simulated scenes are no evidence for real ones. Scores hold for
the test regions where they were measured: check on your own labels before you rely on a map."""


def pretrained_card(pretrained: Pretrained, curves: Sequence[ArmCurve]) -> str:
    """Write the card of pretrained backbones.

    Args:
        pretrained: The file, as loaded.
        curves: Curves of the arms that start from it.
    """
    name, specs, usage = pretrained.architecture.name, pretrained.specs, ""
    if pretrained.trained:
        sensor = pretrained.trained[-1]
        modality = specs[sensor].modality
        usage = f"""\n\n```python
backbone = eocontrast.load_backbone("weights.safetensors", "{sensor}")
images = backbone.input_spec.prepare(values, bands={list(modality.bands)}, units="{modality.units}")
features = backbone(images)  # values: (images, bands, height, width)
```"""
    others = {f"architecture of {s}": a.title for s, a in pretrained.others.items()}
    facts = {
        "method": pretrained.method,
        "architecture": f"{pretrained.architecture.title}, one per sensor",
        "options": pretrained.architecture.options,
        **others,
        "patches": pretrained.patches or "unknown",
        **pretrained.run,
        **{f"{metric} of held-out pairs": value for metric, value in pretrained.health.items()},
    }
    scores = [
        {"arm": c.result.name, "task": c.result.task, "metric": c.result.metric}
        | {"fraction": fraction, "labels": int(n), **vars(interval)}
        for c in curves
        for fraction, n, interval in zip(c.fractions, c.n_labels, c.intervals, strict=True)
    ]
    inputs: dict[str, Any] = {sensor: spec.to_dict() for sensor, spec in specs.items()}
    source = {**pretrained.data, "digest": pretrained.digest}
    title = f"{name}, pretrained by {pretrained.method}"
    kind, origins = "image-feature-extraction", pretrained.origins
    return card(title, facts, inputs, scores, source, kind, usage, origins)


def _descent(origins: Sequence[Origin]) -> str:
    """Return a line per published ancestor, with what to cite."""
    return "\n".join(
        f"- `{o['name']}`, pretrained on {o['data']}, {o['licence']}. Cite: {o['citation']}. "
        f"File: {o['address'] or 'from its authors'} (sha256 {o['sha256']})"
        for o in origins
    )


def _passing_on(origins: Sequence[Origin]) -> str:
    """Return a warning if a licence of an ancestor limits passing the weights on."""
    limited = [o for o in origins if o["licence"] not in OPEN_LICENCES]
    if not limited:
        return ""
    named = ", ".join(f"`{o['name']}` ({o['licence']})" for o in limited)
    return (
        f" **Read before you publish**: {named} is under no open licence, which may forbid or "
        "limit passing these weights on."
    )


def card(
    title: str,
    facts: Mapping[str, object],
    inputs: dict[str, dict[str, Any]],
    scores: Sequence[dict[str, Any]],
    data: Mapping[str, str],
    pipeline: str,
    usage: str = "",
    origins: Sequence[Origin] = (),
) -> str:
    """Put a card together, with the metadata that the Hugging Face Hub reads."""
    licences = [data.get("licence", "unknown"), *(origin["licence"] for origin in origins)]
    # of joined weights the data's licence holds several already
    licence = " and ".join(dict.fromkeys(each for text in licences for each in text.split(" and ")))
    facts = {"data": data.get("name", "unknown"), "digest": data["digest"] or "unknown", **facts}
    lines = (f"- {k}: {v if isinstance(v, str) else json.dumps(v)}" for k, v in facts.items())
    bands = pd.DataFrame.from_dict(inputs, orient="index").explode(["bands", "mean", "sd"])
    bands = bands.dropna(axis="columns", how="all")  # what nobody recorded needs no column
    table = pd.DataFrame(scores).round(3).astype(object).fillna("").to_markdown(index=False)
    parts = {
        f"# {title}": "\n".join(lines),
        "## Input": f"{bands.to_markdown()}\n\nNo data is NaN.{usage}",
        "## Scores on the test split, with 95 % intervals": table or "None.",
        "## Intended use and limits": _LIMITS,
        "## Licence": "The weights come under the terms of the data they were trained on: "
        f"{licence}. The code that made and loads them is licensed under Apache-2.0."
        + _passing_on(origins),
    }
    if origins:
        parts["## Published weights that these descend from"] = _descent(origins)
    # the Hub knows licences by its own identifiers, and has a field for the name of any other
    known = licence.lower() in _HUB_LICENCES
    metadata = ModelCardData(
        license=licence.lower() if known else "other",
        license_name=None if known else re.sub("[^a-z0-9.]+", "-", licence.lower()).strip("-"),
        pipeline_tag=pipeline,
        tags=["eocontrast", "earth-observation", "sentinel-1", "sentinel-2"],
    )
    text = "\n\n".join(f"{heading}\n\n{part}" for heading, part in parts.items())
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"))
