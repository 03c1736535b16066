"""Cards of fine-tuned models, which MLflow keeps beside their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eocontrast.curve.bootstrap import group_intervals
from eocontrast.curve.cards import card

if TYPE_CHECKING:
    from eocontrast.evaluation.evaluate import Evaluation

_FACTS = ("task", "head", "init", "fusion", "frozen", "fraction", "n_labels", "n_pixels", "seed")


def finetuned_card(evaluations: Sequence[Evaluation], provenance: Mapping[str, str]) -> str:
    """Write the card of a fine-tuned model.

    Args:
        evaluations: Its evaluations on the test split, the one with all sensors first.
        provenance: Commit, hardware and date, which the weight file does not hold.
    """
    whole, spec, task = evaluations[0], evaluations[0].spec, evaluations[0].task
    # over test groups alone: this is one model, so there is no seed to resample
    intervals = group_intervals(whole.tally, task.exclusive, samples=1000)
    scores: list[dict[str, Any]] = [{"score": k, **vars(i)} for k, i in intervals.items()]
    for alone in evaluations[1:]:
        name = f"{task.metric} of {alone.inputs} alone"
        scores.append({"score": name, "value": alone.scores[task.metric]})
    names = [*_FACTS, *(["n_shapes"] if spec.n_shapes else []), "classes"]
    facts = {**{name: getattr(spec, name) for name in names}, **provenance}
    data = {**spec.data, "digest": spec.data_digest}
    title = f"{spec.architecture.name}, fine-tuned for {spec.task}"
    kind = "segmentation" if spec.task == "segmentation" else "classification"
    inputs = spec.to_dict()["inputs"]
    return card(title, facts, inputs, scores, data, f"image-{kind}", origins=spec.origins)
