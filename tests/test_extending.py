"""The examples of docs/extending.md do what the page says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS
from eocontrast.models import backbones
from eocontrast.models.backbones import Architecture, Backbone, create_backbone
from eocontrast.models.decoders import DECODERS
from eocontrast.models.segmenters import EncoderDecoder
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.loop import pretrain
from eocontrast.sources import catalogue
from eocontrast.training.devices import accelerator

PAGE = (Path(__file__).parents[1] / "docs/extending.md").read_text()


def blocks(section: str, language: str) -> list[str]:
    """The fenced code of a section of the page."""
    (body,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    found = re.findall(rf"^```{language}\n(.*?)^```", body, re.MULTILINE | re.DOTALL)
    assert found
    return [str(block) for block in found]


def run_page(section: str) -> dict[str, Any]:
    """What the section's code defines, all of it as one module."""
    names: dict[str, Any] = {"__name__": f"extending.{section}"}
    exec(
        compile(
            "\n".join(blocks(section, "python")), "docs/extending.md", "exec", dont_inherit=True
        ),
        names,
    )
    return names


@pytest.mark.parametrize("section", ["A source", "A method", "A backbone"])
def test_there_are_at_most_three_steps(section: str) -> None:
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    assert re.findall(r"^(\d)\. ", body, re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_source_becomes_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = run_page("A source")
    sources: Any = catalogue.SOURCES
    monkeypatch.setitem(sources, "stripes", page["fetch"])
    params: Any = type("Params", (), {"stripes": page["StripesParams"](pairs=12)})
    manifests, store = tmp_path / "manifests", tmp_path / "store"
    name: Any = "stripes"
    catalogue.fetch_source(name, tmp_path / "rasters", manifests, params)
    build_store(
        manifests,
        store,
        tmp_path / "audit.json",
        seed=0,
        test_fraction=0.3,
        shard_mib=1,
        max_bad_fraction=0,
        check_shift=False,
    )
    patches = PatchStore(store)
    assert len(patches.labelled("train")) + len(patches.labelled("test")) == 12
    assert tuple(patches.classes) == ("Water", "Forest")


def test_the_method_trains(tiny_store: PatchStore) -> None:
    page = run_page("A method")
    run = page["BarlowTwinsRun"](
        method="barlow_twins",
        backbone="resnet",
        seeds=(0,),
        epochs=3,
        warmup_epochs=1,
        batch_size=16,
        groups_per_batch=0,
        mask_same_group=False,
        crop=12,
        flips=True,
        lr=1e-2,
        weight_decay=1e-4,
        temperature=0.1,
        shared_crop=True,
        projection_dim=8,
        off_diagonal=0.01,
    )
    torch.manual_seed(0)
    small = Architecture("resnet10t", {"channels": [8, 8, 16, 16]})
    two = {s: Backbone(small, {s: replace(tiny_store.specs[s], patch_size=12)}) for s in SENSORS}
    objective, views = page["method_of"](run, two)
    epochs = pretrain(objective, views, tiny_store, run, accelerator("no"))
    losses = [metrics["loss"] for metrics in epochs]
    assert losses[-1] < losses[0]


def test_timms_backbone_is_an_entry() -> None:
    (entry,) = blocks("A backbone", "yaml")
    ((_, fields),) = YAML(typ="safe").load(entry).items()
    params = BackboneParams.model_validate(fields)
    model = create_backbone(Architecture(params.name, params.options), in_chans=4)
    assert model(torch.zeros(1, 4, 64, 64)).shape == (1, 128)


def test_a_backbone_of_ones_own(tiny_store: PatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backbones._OWN, "plain", run_page("A backbone")["Plain"])
    backbone = Backbone(Architecture("plain", {"channels": [4, 6]}), tiny_store.specs)
    batch = tiny_store.batch(tiny_store.rows("train")[:2])
    assert backbone(batch).shape == (2, 6)
    assert [maps.shape[1:] for maps in backbone.pyramid(backbone.images(batch))] == [
        (4, 8, 8),
        (6, 4, 4),
    ]
    segment = EncoderDecoder({"s1_s2": backbone}, 3, DECODERS["unet"], fuse_scales=False)
    assert segment.eval()(batch).shape == (2, 3, 16, 16)
