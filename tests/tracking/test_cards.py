from collections.abc import Callable
from pathlib import Path

import pandas as pd

from eocontrast.evaluation.evaluate import Evaluation
from eocontrast.models.build import load_finetuned
from eocontrast.patches.store import PatchStore
from eocontrast.tracking.cards import finetuned_card

WriteModel = Callable[..., Path]


def test_finetuned_card(tiny_store: PatchStore, write_model: WriteModel) -> None:
    """Hold scores with all sensors, and with each alone."""
    spec = load_finetuned(write_model(tiny_store, n_labels=12))[1]
    actual = {"id": list("abcd"), "group": ["g", "g", "h", "h"], "count": 1}
    answers = {"s1+s2": ["Forest", "Urban", "Water", "Water"], "s1": ["Forest"] * 4}
    evaluations = []
    for inputs, predicted in answers.items():
        table = pd.DataFrame({**actual, "actual": ["Forest", "Urban", "Urban", "Water"]})
        right = {"AA": (table["actual"] == predicted).mean()}
        predictions = table.assign(predicted=predicted)
        evaluations.append(Evaluation(spec, inputs, right, {}, predictions))
    card = finetuned_card(evaluations, {"commit": "3ab933c"})
    for line in (
        "- n_labels: 12",
        "- commit: 3ab933c",
        f"- data: {tiny_store.data['name']}",
        f"- digest: {tiny_store.digest}",
        "pipeline_tag: image-classification",
    ):
        assert f"\n{line}\n" in card, line
    scores = [[cell.strip() for cell in line.split("|")[1:3]] for line in card.splitlines()]
    assert ["OA", "0.75"] in scores  # three of four
    assert ["AA of s1 alone", "0.25"] in scores
    assert "s1 alone" not in finetuned_card(evaluations[:1], {})
