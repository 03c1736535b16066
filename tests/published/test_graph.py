"""The whole graph on published weights of two architectures, fetched from a server here."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from checkpoints import drawn
from clones import ENVIRONMENT, clone_to, keep_arms, run, shrink_further, stages_run
from servers import HttpServer

from eocontrast.models.build import load_finetuned
from eocontrast.models.weights import Pretrained
from eocontrast.published.catalogue import entry

pytestmark = pytest.mark.slow

NAMES = {"s1": "rn50_s1_moco", "s2": "rn18_s2_moco"}


def saved(state: object) -> bytes:
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with frozen and fine-tuned arms of both tasks on these weights, reproduced."""
    content = {name: saved(drawn(entry(name), {})) for name in NAMES.values()}
    server = HttpServer({f"/{entry(name).address}": data for name, data in content.items()})

    def edit(params: dict[str, Any]) -> None:
        shrink_further(params)
        curve, runs = params["label_curve"], params["pretrain"]["runs"]
        keep_arms(curve, ("s2", "unet"))
        params["pretrain"]["runs"] = {"random_resnet": runs["random_resnet"]}
        digests = {name: sha256(data).hexdigest() for name, data in content.items()}
        params["pretrain"]["published"] = {"moco": {**NAMES, "sha256": digests}}
        heads = {"probe": ("classification", "linear"), "pixels": ("segmentation", "unet")}
        curve["arms"]["moco"] = {
            f"{arm}_{kind}": {
                "task": task,
                "head": head,
                "fusion": "late",
                "frozen": kind == "frozen",
                "lr": 1e-3,
                "backbone_lr_scale": 0.1,
                "modality_dropout": 0.3,
            }
            for arm, (task, head) in heads.items()
            for kind in ("frozen", "tuned")
        }
        curve |= {"fractions": [1.0], "seeds": [0]}
        params["finetune"] |= {"arm": "pixels_frozen"}
        params["qualitative"] |= {"arms": ["pixels_tuned"], "fraction": 1.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENT, "HF_ENDPOINT", server.url)
        made = clone_to(tmp_path_factory.mktemp("published") / "clone", edit)
        assert "published@moco" in stages_run(run(made, "dvc", "repro"))
        assert stages_run(run(made, "dvc", "repro")) == []
    yield made
    server.stop()


def test_arms_on_curve(clone: Path) -> None:
    table = pd.read_csv(clone / "metrics/label_curve.csv")
    inputs = table.groupby("arm")["inputs"].unique().map(set).to_dict()
    both = {"s1+s2", "s1", "s2"}
    ours = {f"{arm}_{kind}": both for arm in ("probe", "pixels") for kind in ("frozen", "tuned")}
    assert inputs == {"s2": {"s2"}, "unet": {"s1+s2"}, **ours}
    assert table["value"].between(0, 1).all()


@pytest.mark.parametrize("arm", ["probe_frozen", "probe_tuned", "pixels_frozen", "pixels_tuned"])
def test_frozen_arms_keep_weights(clone: Path, arm: str) -> None:
    init = Pretrained.load(clone / "models/pretrained/moco.safetensors")
    model, spec = load_finetuned(clone / f"models/label_curve/moco/{arm}/1.0-0.safetensors")
    assert [origin["name"] for origin in spec.origins] == list(NAMES.values())
    state = model.state_dict()
    same = [
        torch.equal(state[f"backbones.{sensor}.timm.{name}"], tensor)
        for (sensor, _, name), tensor in ((n.partition("."), t) for n, t in init.tensors.items())
    ]
    assert all(same) == arm.endswith("frozen")


def test_card_and_single_run(clone: Path) -> None:
    card = (clone / "metrics/cards/moco.md").read_text()
    assert all(name in card for name in NAMES.values())
    _, spec = load_finetuned(next((clone / "models/finetuned").glob("*.safetensors")))
    assert (spec.head, spec.fusion, spec.frozen) == ("unet", "late", True)
