from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from arm_results import arm
from huggingface_hub import ModelCard

from eocontrast.curve.cards import pretrained_card
from eocontrast.curve.label_curve import arm_curves
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.models.backbones import Architecture
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec

S2 = Modality(("B02", "B08"), "DN", (0.0, 10000.0))
FILE = Pretrained(
    method="dual_simclr",
    architecture=Architecture("resnet10t", {"channels": [8, 8, 16, 16]}),
    specs={
        "s1": InputSpec(SENTINEL1, (-11.25, -18.5), (2.5, 3.125), 64),
        "s2": InputSpec(S2, (1234.5, 2000.0), (321.25, 400.0), 96, "crop_maximum"),
    },
    tensors={"s1.a": torch.zeros(1), "s2.a": torch.zeros(1)},
    digest="0123abcd",
    run={"epochs": 24, "temperature": 0.1, "flips": True},
    patches=5760,
    health={"spread": 0.7125, "retrieval_top1": 0.5},
    data={"name": "simulated", "licence": "CC-BY-4.0"},
)


def cells(card: str) -> list[list[str]]:
    """Return the rows of all tables of a card."""
    rows = [line for line in card.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_card_holds_header() -> None:
    card = pretrained_card(FILE, [])
    for line in (
        "# resnet10t, pretrained by dual_simclr",
        "- data: simulated",
        "- digest: 0123abcd",
        '- options: {"channels": [8, 8, 16, 16]}',
        "- patches: 5760",
        "- temperature: 0.1",
        "- flips: true",
        "- retrieval_top1 of held-out pairs: 0.5",
    ):
        assert f"\n{line}\n" in card, line
    assert "trained on: CC-BY-4.0. The code" in card
    rows = cells(card)
    assert ["s1", "VV", "dB", "(-40.0, 10.0)", "-11.25", "2.5", "64", "band_statistics"] in rows
    assert ["s2", "B08", "DN", "(0.0, 10000.0)", "2000", "400", "96", "crop_maximum"] in rows


@pytest.mark.parametrize(
    ("licence", "identifier", "name"),
    [
        ("CC-BY-4.0", "cc-by-4.0", None),
        ("CDLA-Permissive-1.0", "cdla-permissive-1.0", None),
        ("Apache-2.0, of spectra under MIT (earthlib)", "other",
         "apache-2.0-of-spectra-under-mit-earthlib"),
        ("unspecified", "other", "unspecified"),
    ],
)  # fmt: skip
def test_metadata_licence(licence: str, identifier: str, name: str | None) -> None:
    """The Hub refuses licences that it does not know, except by `license_name`."""
    card = ModelCard(pretrained_card(replace(FILE, data={"name": "x", "licence": licence}), []))
    assert card.data["license"] == identifier
    assert card.data.get("license_name") == name
    assert f"trained on: {licence}." in card.text


def test_card_of_unknown_data() -> None:
    card = pretrained_card(replace(FILE, method="imported", digest="", patches=0, data={}), [])
    for line in ("- data: unknown", "- digest: unknown", "- patches: unknown", "license: unknown"):
        assert f"\n{line}\n" in card


def test_card_without_weights() -> None:
    card = pretrained_card(replace(FILE, method="random", tensors={}, run={}, health={}), [])
    assert "load_backbone" not in card
    assert "held-out pairs" not in card


def test_card_scores() -> None:
    arms = {"dual": arm("dual", {0.1: 0.6, 1.0: 0.9})}
    curves = arm_curves(arms, 100)
    rows = [row for row in cells(pretrained_card(FILE, [*curves.values()])) if row[0] == "dual"]
    assert [row[:5] for row in rows] == [
        ["dual", "single_label", "AA", "0.1", "10"],
        ["dual", "single_label", "AA", "1", "100"],
    ]
    for row, interval in zip(rows, curves["dual"].intervals, strict=True):
        expected = (interval.value, interval.low, interval.high)
        assert [float(cell) for cell in row[5:]] == pytest.approx(expected, abs=0.0006)
    assert "None." in pretrained_card(FILE, [])


def test_card_code_runs(tmp_path: Path, tiny_inits: dict[str, Path]) -> None:
    import numpy as np

    import eocontrast

    card = pretrained_card(Pretrained.load(tiny_inits["dual_simclr"]), [])
    code = card.partition("```python\n")[2].partition("```")[0]
    assert code.count("\n") == 3
    names = {"eocontrast": eocontrast, "values": np.full((2, 4, 16, 16), 1500.0)}
    exec(code.replace("weights.safetensors", str(tiny_inits["dual_simclr"])), names)
    features: Any = names["features"]
    assert features.shape[0] == 2
