from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from eocontrast.evaluation.evaluate import Evaluation
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.models.backbones import Architecture
from eocontrast.models.tasks import TASKS
from eocontrast.models.weights import Pretrained, load_weights
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.tracking.cards import finetuned_card, pretrained_card

WriteModel = Callable[..., Path]

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
PROVENANCE = {"commit": "3ab933c", "hardware": "2 cores | no GPU", "seconds": "240"}


def test_all_of_the_header_and_the_provenance_is_said() -> None:
    card = pretrained_card(FILE, PROVENANCE)
    for said in (
        "| method | dual_simclr |",
        "timm `resnet10t`",
        '`{"channels": [8, 8, 16, 16]}`',
        "clipped to -40 to 10 dB, patches of 64 px; scaling `band_statistics`",
        "| VV | -11.25 | 2.5 |",
        "clipped to 0 to 10000 DN, patches of 96 px; scaling `crop_maximum`",
        "| B08 |",
        "| data | simulated |",
        "| data digest | 0123abcd |",
        "trained on: CC-BY-4.0. The code",
        "| patches | 5760 |",
        "| temperature | 0.1 |",
        "| retrieval_top1 | 0.5 |",
        "| commit | 3ab933c |",
        r"| hardware | 2 cores \| no GPU |",
        "simulated scenes are no evidence",
        "Apache-2.0",
    ):
        assert said in card, said
    assert card.endswith("\n")


def test_a_file_without_weights_is_not_said_to_be_loadable() -> None:
    card = pretrained_card(replace(FILE, method="random", tensors={}, run={}, health={}), {})
    assert "load_backbone" not in card
    assert "of the last epoch" not in card
    assert "## Provenance" not in card


def test_unknown_is_said_to_be_unknown() -> None:
    card = pretrained_card(replace(FILE, method="imported", digest="", patches=0, data={}), {})
    assert "| data | unknown |" in card
    assert "trained on: unknown." in card
    assert "| data digest | unknown |" in card
    assert "| patches | unknown |" in card


def test_the_code_of_a_card_runs(tmp_path: Path, tiny_inits: dict[str, Path]) -> None:
    import numpy as np

    import eocontrast

    card = pretrained_card(Pretrained.load(tiny_inits["dual_simclr"]), {})
    code = card.partition("```python\n")[2].partition("```")[0]
    assert code.count("\n") == 3
    names = {"eocontrast": eocontrast, "values": np.full((2, 4, 16, 16), 1500.0)}
    exec(code.replace("weights.safetensors", str(tiny_inits["dual_simclr"])), names)
    features: Any = names["features"]
    assert features.shape[0] == 2


def test_a_fine_tuned_model_tells_its_scores_with_all_sensors_and_with_each(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    header = {**load_weights(write_model(tiny_store))[1], "n_labels": 12}
    task = TASKS["single_label"]
    actual = {"id": list("abcd"), "group": ["g", "g", "h", "h"], "count": 1}
    said = {"s1+s2": ["Forest", "Urban", "Water", "Water"], "s1": ["Forest"] * 4}
    evaluations = []
    for inputs, predicted in said.items():
        table = pd.DataFrame({**actual, "actual": ["Forest", "Urban", "Urban", "Water"]})
        right = {"AA": (table["actual"] == predicted).mean()}
        said_of = table.assign(predicted=predicted)
        evaluations.append(Evaluation(header, task, inputs, right, {}, said_of))
    card = finetuned_card(evaluations, PROVENANCE)
    for line in (
        "| n_labels | 12 |",
        f"| classes | {', '.join(tiny_store.classes)} |",
        "| OA | 0.750 | ",  # three of four
        "| s1 alone | 0.250 |  |",
        "| commit | 3ab933c |",
        f"| data | {tiny_store.data['name']} |",
        f"| data digest | {tiny_store.digest} |",
    ):
        assert line in card, line
    assert "s1 alone" not in finetuned_card(evaluations[:1], {})
