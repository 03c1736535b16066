from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eocontrast.backbones import Architecture
from eocontrast.cards import SCORES, pretrained_card, with_scores
from eocontrast.inputs import InputSpec
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.weights import Pretrained

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
)
PROVENANCE = {"commit": "3ab933c", "hardware": "2 cores | no GPU", "seconds": "240"}

ROW: dict[str, Any] = {
    "arm": "dual_simclr",
    "task": "classification",
    "metric": "AA",
    "fraction": 0.1,
    "labels": 86,
    "value": 0.63512,
    "low": 0.6,
    "high": 0.66666,
}


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
        "| data digest | 0123abcd |",
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
    assert SCORES not in card


def test_a_file_without_weights_is_not_said_to_be_loadable() -> None:
    card = pretrained_card(replace(FILE, method="random", tensors={}, run={}, health={}), {})
    assert "load_backbone" not in card
    assert "of the last epoch" not in card
    assert "## Provenance" not in card


def test_unknown_is_said_to_be_unknown() -> None:
    card = pretrained_card(replace(FILE, method="imported", digest="", patches=0), {})
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


@pytest.mark.parametrize("follows", ["", "\n## Licence\n\nFree.\n"])
def test_scores_are_appended_once_and_replaced(follows: str) -> None:
    card = f"# Title\n\nText.\n{follows}"
    once = with_scores(card, [ROW])
    assert "| arm | task | metric | fraction | labels | value | 95 % interval |" in once
    row = "| dual_simclr | classification | AA | 0.1 | 86 | 0.635 | 0.600 to 0.667 |"
    assert row in once
    again = with_scores(once, [{**ROW, "value": 0.7}])
    assert again.count(SCORES) == 1
    assert row not in again
    assert "| 0.700 |" in again
    assert with_scores(again, [ROW]) == once
    assert with_scores(once, []) == card


def test_what_follows_the_scores_is_kept() -> None:
    card = with_scores("# Title\n", [ROW]) + "\n## Notes\n\nMine.\n"
    again = with_scores(card, [{**ROW, "value": 0.7}])
    assert again.endswith("## Notes\n\nMine.\n")
    assert again.index(SCORES) < again.index("| 0.700 |") < again.index("## Notes")
