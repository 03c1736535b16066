"""Small rasters, a small store, and what is trained on it once for all tests."""

from __future__ import annotations

import os
import signal
import sys

# tensors this small lose more to waking threads than they gain, and the order of sums is fixed
os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.rasters.source import COLUMNS, Source

if TYPE_CHECKING:  # torch takes seconds to import, and tests of rasters do without
    from clones import Experiment
    from matplotlib.figure import Figure

    from eocontrast.config.finetuning import Recipes
    from eocontrast.config.pretraining import BackboneParams, DualSimCLRRun
    from eocontrast.models.model import Model
    from eocontrast.models.tasks import TaskName
    from eocontrast.patches.store import PatchStore

FOUR_BANDS = Modality(("B02", "B03", "B04", "B08"), "DN", (0.0, 10000.0))
CLASSES = {"Forest": 1, "Urban": 7, "Water": 10}

SHARING = ("test_pipeline.py", "curve/test_report_page.py", "tracking/test_mlflow_ui.py")
"""Files whose tests take the fixture `clones`, which takes minutes."""

Raster = NDArray[Any]
Edit = Callable[[int, Raster, Raster], tuple[Raster, Raster] | None]
WriteSource = Callable[..., Path]
WriteModel = Callable[..., Path]


def pytest_configure() -> None:
    """What a shell starts in its background ignores Ctrl-C, and so would all that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With `--dist loadfile`, give the files that share the clones to one process."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    def scope(test: str) -> str:
        file = test.split("::")[0]
        return "clones" if file.endswith(SHARING) else file

    scheduler = LoadFileScheduling(config, log)
    scheduler._split_scope = scope
    return scheduler


@pytest.fixture(autouse=True)
def own_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """float32 whatever the processor multiplies, or what a test asks for.

    A process keeps its first precision for ever, and tests share one.
    """
    if "eocontrast.training.devices" in sys.modules:
        monkeypatch.setattr("eocontrast.training.devices._has_bf16", lambda: False)
    _forget_precision()  # of what was trained once for several tests
    yield
    _forget_precision()


def _forget_precision() -> None:
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)


def write_raster(path: Path, bands: Raster, georeferenced: bool) -> None:
    """Bands of shape (bands, H, W) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=bands.dtype,
            count=count,
            height=height,
            width=width,
        ) as raster:
            if georeferenced:
                raster.transform = Affine(10, 0, 600000, 0, -10, 5300000)
            raster.write(bands)


def pair_of(label: int, place: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """One place: class `label` is bright in band `label`, and a trait of the place is in both."""
    rng = np.random.default_rng(place)
    trait = rng.normal(size=(2, 1, 1))
    s1 = -15 + 3 * trait + rng.normal(size=(2, size, size))
    s1[0] += 4 * (label - 1)
    s1 += np.reshape((2.5, -2.5), (2, 1, 1))  # no ground sends back more in VH than in VV
    s2 = 1500 + 300 * np.concatenate([trait, trait]) + 100 * rng.normal(size=(4, size, size))
    s2[label] += 900
    return s1.astype(np.float32), s2.round().clip(1, 10000).astype(np.uint16)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """Figures that were drawn, kept open for a look."""
    import matplotlib.pyplot as plt

    kept: list[Figure] = []
    close = plt.close
    monkeypatch.setattr(plt, "close", kept.append)
    yield kept
    for figure in kept:
        close(figure)


@pytest.fixture
def write_source(tmp_path: Path) -> WriteSource:
    """A folder as `download` leaves it: `labels[i]` of patch i, `group[i]` and `split[i]`.

    `edit(place, s1, s2)` may change the rasters of a place, in place or by what it returns;
    with `masks` the labels are mask rasters.
    """

    def write(
        name: str = "raw",
        labels: Sequence[int] = (0, 1, 2) * 4,
        groups: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        size: int = 16,
        edit: Edit | None = None,
        masks: bool = False,
        georeferenced: bool = True,
    ) -> Path:
        folder = tmp_path / name
        return _write_source(folder, labels, groups, splits, size, edit, masks, georeferenced)

    return write


def _write_source(
    folder: Path,
    labels: Sequence[int],
    groups: Sequence[str] | None,
    splits: Sequence[str] | None,
    size: int,
    edit: Edit | None = None,
    masks: bool = False,
    georeferenced: bool = True,
) -> Path:
    names, rows = list(CLASSES), []
    for place, label in enumerate(labels):
        s1, s2 = pair_of(max(label, 0), place, size)
        if edit:
            s1, s2 = edit(place, s1, s2) or (s1, s2)
        write_raster(folder / f"s1/{place}.tif", s1, georeferenced)
        write_raster(folder / f"s2/{place}.tif", s2, georeferenced)
        named = names[label] if label >= 0 else ""
        if masks and label >= 0:
            named = f"label/{place}.tif"
            mask = np.full((1, size, size), CLASSES[names[label]], np.uint8)
            mask[0, 0] = 3  # a value that is no class
            write_raster(folder / named, mask, georeferenced)
        group = groups[place] if groups else f"g{place // 3}"
        split = splits[place] if splits else ""
        rows.append((f"p{place:03d}", f"s1/{place}.tif", f"s2/{place}.tif", named, group, split))
    palette = dict(zip(names, ("#009900", "#a5a5a5", "#1c0dff"), strict=True))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    Source(SENTINEL1, FOUR_BANDS, CLASSES, palette, manifest).write(folder)
    return folder


def _build(raw: Path, base: Path) -> Path:
    from eocontrast.normalisation.build import build_store

    build_store(
        raw,
        base / "store",
        base / "audit.json",
        seed=0,
        test_fraction=0.3,
        shard_mib=1,
        max_bad_fraction=0,
        check_shift=False,
    )
    return base / "store"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 72 patches: 12 without label to pretrain on, 42 to train on, 18 to test on."""
    base = tmp_path_factory.mktemp("tiny")
    labels = [-1] * 12 + [0, 1, 2] * 20
    groups = [f"g{place // 6:02d}" for place in range(72)]
    splits = ["pretrain"] * 12 + ["train"] * 42 + ["test"] * 18
    raw = _write_source(base / "raw", labels, groups, splits, 16)
    return _build(raw, base)


@pytest.fixture
def tiny_store(tiny_folder: Path) -> PatchStore:
    """The store of `tiny_folder`, opened."""
    from eocontrast.patches.store import PatchStore

    return PatchStore(tiny_folder)


MIXED_COLUMNS = (0, 1, 2, 6)
"""Of a mixed patch's 16 columns, how many show its second class; two are 12.5 %, one is 6.25 %."""


def mixed_classes(place: int) -> tuple[int, int, int]:
    """First class of a mixed patch, the second, and how many columns that one has at the left."""
    return place % 3, (place + 1) % 3, MIXED_COLUMNS[place // 3 % 4]


def _mix(folder: Path, place: int, size: int) -> None:
    first, second, columns = mixed_classes(place)
    s1, s2 = pair_of(first, place, size)
    other_s1, other_s2 = pair_of(second, place, size)
    s1[..., :columns], s2[..., :columns] = other_s1[..., :columns], other_s2[..., :columns]
    values = list(CLASSES.values())
    mask = np.full((1, size, size), values[first], np.uint8)
    mask[..., :columns] = values[second]
    mask[0, -1, -1] = 3  # a value that is no class
    for kind, raster in (("s1", s1), ("s2", s2), ("label", mask)):
        write_raster(folder / f"{kind}/{place}.tif", raster, georeferenced=True)


@pytest.fixture(scope="session")
def mixed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with masks: 42 patches to train on and 18 to test on, as `mixed_classes` says."""
    base = tmp_path_factory.mktemp("mixed")
    groups = [f"g{place // 6:02d}" for place in range(60)]
    splits = ["train"] * 42 + ["test"] * 18
    raw = _write_source(base / "raw", [0, 1, 2] * 20, groups, splits, 16, masks=True)
    for place in range(60):
        _mix(raw, place, 16)
    return _build(raw, base)


@pytest.fixture
def mixed_store(mixed_folder: Path) -> PatchStore:
    """The store of `mixed_folder`, opened."""
    from eocontrast.patches.store import PatchStore

    return PatchStore(mixed_folder)


@pytest.fixture(scope="session")
def tiny_backbones() -> dict[str, BackboneParams]:
    """A ResNet, a Swin and a VGG of a few thousand parameters, for patches of 16 px."""
    from eocontrast.config.pretraining import BackboneParams

    swin = {"img_size": 16, "window_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    return {
        "resnet": BackboneParams(
            name="resnet10t",
            options={"channels": [8, 8, 16, 16]},
            scaling="band_statistics",
        ),
        "swin": BackboneParams(
            name="swin_tiny_patch4_window7_224", options=swin, scaling="band_statistics"
        ),
        "vgg": BackboneParams(
            name="mma_vgg", options={"channels": [8, 8, 16, 16]}, scaling="band_statistics"
        ),
    }


@pytest.fixture(scope="session")
def tiny_run() -> DualSimCLRRun:
    """A pretraining of seconds that still learns the pairs of `tiny_store`."""
    from runs import DUAL_SIMCLR

    return DUAL_SIMCLR.model_copy(update={"epochs": 4})


@pytest.fixture(scope="session")
def tiny_inits(
    tiny_folder: Path, tiny_backbones: dict[str, BackboneParams], tiny_run: DualSimCLRRun
) -> dict[str, Path]:
    """Weight files by method: `random` and `dual_simclr`, of the small ResNet."""
    from eocontrast.config.pretraining import RandomRun
    from eocontrast.patches.store import PatchStore
    from eocontrast.pretraining.run import pretrain_run

    runs: dict[str, RandomRun | DualSimCLRRun]
    runs = {"random": RandomRun(method="random", backbone="resnet"), "dual_simclr": tiny_run}
    files = {name: tiny_folder.parent / f"{name}.safetensors" for name in runs}
    for name, run in runs.items():
        store = PatchStore(tiny_folder)
        list(pretrain_run(run, tiny_backbones["resnet"], store, files[name], "no"))
    return files


@pytest.fixture(scope="session")
def swin_inits(tiny_folder: Path, tiny_backbones: dict[str, BackboneParams]) -> dict[str, Path]:
    """Weight files of the small Swin by method: `random`, and `dual_simclr`, which is as drawn."""
    import torch

    from eocontrast.modalities import SENSORS
    from eocontrast.models.backbones import Architecture, Backbone
    from eocontrast.models.weights import Pretrained, backbone_tensors
    from eocontrast.patches.store import PatchStore

    store, swin = PatchStore(tiny_folder), tiny_backbones["swin"]
    architecture = Architecture(swin.name, swin.options)
    torch.manual_seed(1)
    drawn = {s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}
    tensors = {"random": {}, "dual_simclr": backbone_tensors(drawn)}
    files = {name: tiny_folder.parent / f"swin_{name}.safetensors" for name in tensors}
    for name, file in files.items():
        Pretrained(name, architecture, store.specs, tensors[name], store.digest).save(file)
    return files


@pytest.fixture(scope="session")
def tiny_recipes() -> Recipes:
    """A fine-tuning of seconds."""
    from eocontrast.config.finetuning import ClassificationRecipe, Recipe, Recipes

    shared: dict[str, Any] = {
        "epochs": 4,
        "min_steps": 12,
        "batch_size": 8,
        "crop": 16,
        "weight_decay": 1e-2,
        "val_fraction": 0.2,
        "class_weights": "none",
    }
    votes: dict[str, Any] = {"neighbours": 5, "neighbour_temperature": 0.1, "head_epochs": 4}
    return Recipes(
        classification=ClassificationRecipe(labels="single_label", **shared, **votes),
        segmentation=Recipe(**shared),
    )


@pytest.fixture
def write_model(tmp_path: Path, tiny_backbones: dict[str, BackboneParams]) -> WriteModel:
    """A fine-tuned file without training: random backbones, but answers that vary.

    Over the training patches the logits of each class have zero mean and unit variance; a vote of
    neighbours remembers these patches. `fields` replace those of its header.
    """
    import torch
    from specs import finetuned_spec

    from eocontrast.models.backbones import Architecture
    from eocontrast.models.build import new_model
    from eocontrast.models.weight_files import save_weights
    from eocontrast.models.weights import Pretrained

    def write(store: PatchStore, name: str = "model", **fields: object) -> Path:
        chosen = tiny_backbones["swin" if fields.get("head") == "swin_unet" else "resnet"]
        of_store: dict[str, Any] = {
            "architecture": Architecture(chosen.name, chosen.options),
            "inputs": store.specs,
            "classes": store.classes,
            "palette": store.palette,
            "data": store.data,
            "data_digest": store.digest,
            "n_labels": len(store.labelled("train")),
        }
        spec = finetuned_spec(**{**of_store, **fields})
        init = Pretrained("random", spec.architecture, store.specs, {}, store.digest)
        torch.manual_seed(spec.seed)
        model = new_model(init, spec).eval()
        _set_answers(model, store, spec.task)
        file = tmp_path / f"{name}.safetensors"
        save_weights(file, model.state_dict(), spec.to_dict())
        return file

    return write


def _set_answers(model: Model, store: PatchStore, task: TaskName) -> None:
    import torch
    import torch.nn.functional as F

    from eocontrast.models.classifiers import NeighbourClassifier
    from eocontrast.models.tasks import TASKS, patch_targets

    train = store.labelled("train")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases begin at 0, and no data would say nothing
                parameter.add_(0.1 * torch.randn_like(parameter))
        batch = store.batch(train, model.inputs)
        if isinstance(model, NeighbourClassifier):
            targets = patch_targets(store, TASKS[task])[torch.from_numpy(train)]
            votes = F.one_hot(targets, len(store.classes)) if TASKS[task].exclusive else targets
            model.remember(model.streams(batch), votes)
            return
        logits = model(batch).transpose(0, 1).flatten(1)
        last = [m for m in model.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)][-1]
        assert last.bias is not None
        sd, mean = logits.std(1), logits.mean(1)
        last.weight.div_(sd.view(-1, *[1] * (last.weight.ndim - 1)))
        last.bias.sub_(mean).div_(sd)


@pytest.fixture(scope="session")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two clones of the same state, reproduced from scratch, one with trouble and two workers.

    Neither has a home, a locale, a git identity or a network. Experiments run in the first. The
    `dvc.lock` of each, and the names of its runs in MLflow, lie beside it as `dvc repro` left them.
    """
    # MLflow takes seconds
    from clones import (
        ENVIRONMENT,
        NO_NETWORK,
        ODD,
        clone_to,
        introduce,
        mlflow_runs,
        reproduce_with_kills,
        run,
        shrink,
    )

    folder = tmp_path_factory.mktemp("clones")
    found = [clone_to(folder / name, shrink) for name in (ODD, "plain")]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        for name in ("LANG", "LC_ALL"):
            patch.setitem(ENVIRONMENT, name, "C")
        patch.setitem(ENVIRONMENT, "PYTHONPATH", str(NO_NETWORK))
        patch.setitem(ENVIRONMENT, "NETWORK_TRIED", str(folder / "tried"))
        killed = pool.submit(reproduce_with_kills, found[0])
        undisturbed = pool.submit(run, found[1], "dvc", "repro")
        undisturbed.result()
        killed.result()
    for clone in found:
        clone.with_suffix(".lock").write_bytes((clone / "dvc.lock").read_bytes())
        told = sorted(str(told.info.run_name) for told in mlflow_runs(clone))
        clone.with_suffix(".runs").write_text("\n".join(told))
        introduce(clone)
    return found


@pytest.fixture(scope="session")
def experiments(clones: list[Path]) -> list[Experiment]:
    """Those of the README, one after the other, in the first clone."""
    from clones import EXPERIMENTS, try_experiment

    return [try_experiment(clones[0], part) for part in EXPERIMENTS]
