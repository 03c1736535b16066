"""The papers' settings: what makes each file the paper's must not drift with the schema."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from eocontrast.cli.params import apply_changes, read_params
from eocontrast.config.params import Params, check_params, read_yaml
from eocontrast.config.pretraining import ContrastiveRun, DualSimCLRRun, MMARun, SimCLRRun
from eocontrast.tracking.tracker import flatten

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
PAPERS = ("p1", "p2")
SIZES = ("quick", "gpu")
SETS = ("bigearthnet", "ombria", "published")


def read(paper: str) -> Params:
    """Apply the changes of a paper to the shipped parameters."""
    base, file = Path(__file__).with_name("params.yaml"), EXPERIMENTS / f"{paper}.yaml"
    params, _ = read_params(base)
    apply_changes(params, read_yaml(file, YAML()), file, base)
    return check_params(params, str(file))


def read_shipped() -> Params:
    """Read the shipped parameters."""
    path = Path(__file__).with_name("params.yaml")
    return check_params(read_yaml(path, YAML(typ="safe", pure=True)), str(path))


@pytest.mark.parametrize("paper", [*PAPERS, *SIZES, *SETS])
def test_settings_differ_from_shipped(paper: str) -> None:
    base, file = Path(__file__).with_name("params.yaml"), EXPERIMENTS / f"{paper}.yaml"
    changes = YAML(typ="safe", pure=True).load(file)
    changes.pop("remove")
    shipped = flatten(YAML(typ="safe", pure=True).load(base))
    same = [key for key, value in flatten(changes).items() if shipped.get(key, ...) == value]
    assert same == []


def trained(params: Params) -> dict[str, ContrastiveRun]:
    runs = params.pretrain.runs.items()
    return {name: run for name, run in runs if isinstance(run, ContrastiveRun)}


def test_experiment_files() -> None:
    named = {f"{name}.yaml" for name in (*PAPERS, *SIZES, *SETS)}
    assert named <= {path.name for path in EXPERIMENTS.iterdir()}


def test_ombria_arms_and_fractions() -> None:
    params = read("ombria")
    assert (params.data.pretrain, params.data.finetune) == ("ombria", "ombria")
    assert params.label_curve.fractions == (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    arms = params.label_curve.named_arms
    assert {"s1", "s2", "early", "late", "unet", "swin_unet", "swin_unet_dual"} <= set(arms)
    assert {f"{m}{f}" for m in ("simclr", "mma", "dual_simclr") for f in ("", "_frozen")} <= {*arms}
    assert {arm.init for arm in arms.values()} == set(params.pretrain.runs)


@pytest.mark.parametrize("paper", PAPERS)
def test_sources_and_batches(paper: str) -> None:
    params = read(paper)
    assert (params.data.pretrain, params.data.finetune) == ("sen12ms", "dfc2020")
    assert len(params.sources.sen12ms.seasons) == 4
    assert params.label_curve.fractions == (0.01, 0.1, 0.5, 1.0)
    assert len(params.label_curve.seeds) >= 3
    assert {backbone.scaling for backbone in params.backbones.values()} == {"crop_maximum"}
    # in random batches, and with crops for the only augmentation of pairs
    for run in trained(params).values():
        assert run.groups_per_batch == 0
        if isinstance(run, DualSimCLRRun | MMARun):
            assert run.shared_crop
            assert not run.flips


@pytest.mark.parametrize("paper", PAPERS)
def test_recipe_as_published(paper: str) -> None:
    recipe = read(paper).finetune.recipe.classification
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (201, 32, 1e-3)
    assert (recipe.labels, recipe.val_fraction) == ("single_label", 0)


@pytest.mark.parametrize("paper", [*PAPERS, *SIZES, *SETS])
def test_every_run_has_arm(paper: str) -> None:
    params = read(paper)
    inits = {arm.init for arm in params.label_curve.named_arms.values()}
    assert inits == {*params.pretrain.runs, *params.pretrain.published}


@pytest.mark.parametrize("paper", PAPERS)
def test_file_header(paper: str) -> None:
    text = (EXPERIMENTS / f"{paper}.yaml").read_text()
    assert f"eocontrast params experiments/{paper}.yaml && dvc repro" in text
    assert {"p1": "Dual-SimCLR 70+-2", "p2": "frozen .225 .512 .571 .572"}[paper] in text


@pytest.mark.parametrize("size", SIZES)
def test_sizes_name_their_command(size: str) -> None:
    text = (EXPERIMENTS / f"{size}.yaml").read_text()
    assert f"eocontrast params experiments/{size}.yaml && dvc repro" in text
    assert read(size).data.pretrain == "simulated"


def test_quick_labels_hold_every_class() -> None:
    """The smallest fraction of the simulated labels has a patch for each of eight classes."""
    params = read("quick")
    world = params.sources.simulated
    labels = world.train_scenes * world.labelled_scene_size**2
    assert round(min(params.label_curve.fractions) * labels) >= 8
    shipped = read_shipped()
    assert len(params.label_curve.named_arms) < len(shipped.label_curve.named_arms) / 3


def test_gpu_size() -> None:
    params = read("gpu")
    names = {name: backbone.name for name, backbone in params.backbones.items()}
    assert names == {"resnet": "resnet50", "swin": "swin_tiny_patch4_window7_224"}
    assert {run.crop for run in trained(params).values()} == {224}
    world = params.sources.simulated
    assert world.pretrain_scenes * world.scene_size**2 >= 10_000
    assert world.patch_size > 224


def test_bigearthnet_grid() -> None:
    """Both sensors alone and together, at four fractions, from scratch, frozen and fine-tuned."""
    params = read("bigearthnet")
    text = (EXPERIMENTS / "bigearthnet.yaml").read_text()
    assert "eocontrast params experiments/bigearthnet.yaml && dvc repro" in text
    assert params.label_curve.fractions == (0.01, 0.05, 0.1, 1.0)
    assert params.finetune.recipe.classification.labels == "multi_label"
    source = params.sources.bigearthnet
    assert (source.path, source.flagged, source.classes) == ("fetch", "leave_out", "nineteen")
    arms = params.label_curve.named_arms.values()
    held = {
        (arm.fusion, arm.init.startswith("random"), arm.frozen)
        for arm in arms
        if arm.task == "classification" and arm.fusion != "early"
    }
    kinds = ((True, False), (False, False), (False, True))
    assert held == {(fusion, *kind) for fusion in ("s1", "s2", "late") for kind in kinds}


def test_papers_use_opposite_halves() -> None:
    assert read("p1").sources.dfc2020.train == "test"
    assert read("p2").sources.dfc2020.train == "validation"


def test_p1_pretraining() -> None:
    params = read("p1")
    assert params.backbones["resnet"].name == "resnet18"
    assert params.backbones["vgg"].name == "mma_vgg"
    assert params.backbones["vgg"].options["channels"] == [64, 128, 256, 256]
    runs = trained(params)
    for run in runs.values():
        assert (run.crop, run.batch_size, run.lr, run.weight_decay) == (128, 200, 3e-5, 1e-4)
    pair, control, mma = (runs[n] for n in ("dual_simclr_resnet", "simclr_rgb", "mma"))
    assert isinstance(pair, DualSimCLRRun)
    assert (pair.temperature, pair.projection_dim) == (0.07, 128)
    assert isinstance(control, SimCLRRun)
    assert control.bands == ("B04", "B03", "B02")
    assert isinstance(mma, MMARun)


def test_p1_arms() -> None:
    params = read("p1")
    arms, runs = params.label_curve.named_arms, params.pretrain.runs
    for fusion in ("s1", "s2", "early", "late"):
        assert arms[fusion].fusion == fusion
        assert runs[arms[fusion].init].method == "random"
    for name, method in (("simclr_rgb", "simclr"), ("mma", "mma"), ("dual_simclr", "dual_simclr")):
        assert runs[arms[name].init].method == method
        assert not arms[name].frozen
        assert arms[f"{name}_frozen"].frozen


def test_p2_pretraining() -> None:
    params = read("p2")
    assert params.backbones["resnet"].name == "resnet50"
    assert params.backbones["swin"].name == "swin_tiny_patch4_window7_224"
    assert params.backbones["swin"].options == {"img_size": 224, "drop_path_rate": 0.1}
    run = params.pretrain.runs["dual_simclr_swin"]
    assert isinstance(run, DualSimCLRRun)
    assert (run.crop, run.batch_size, run.lr, run.weight_decay) == (224, 50, 5e-4, 0)
    assert (run.epochs, run.warmup_epochs) == (300, 20)
    assert (run.temperature, run.projection_dim) == (0.2, 0)
    recipe = params.finetune.recipe
    assert recipe.classification.crop == recipe.segmentation.crop == 224


@pytest.mark.parametrize(
    ("name", "scratch", "pretrained"),
    [
        ("resnet", "random_resnet", "dual_simclr_resnet"),
        ("swin", "random_swin", "dual_simclr_swin"),
        ("swin_unet", "random_swin", "dual_simclr_swin"),
    ],
)
def test_p2_arms(name: str, scratch: str, pretrained: str) -> None:
    arms = read("p2").label_curve.named_arms
    assert arms[name].init == scratch
    tuned, frozen = arms[f"{name}_finetuned"], arms[f"{name}_frozen"]
    assert tuned.init == frozen.init == pretrained
    assert (tuned.frozen, frozen.frozen) == (False, True)
    assert {arm.fusion for arm in (arms[name], tuned, frozen)} == {"late"}


def test_p2_figure() -> None:
    params = read("p2")
    assert params.label_curve.named_arms["unet"].fusion == "early"
    ensemble, drawn = params.label_curve.ensembles["ensemble"], params.qualitative
    assert (ensemble.first, ensemble.second) == ("unet", "swin_unet_finetuned")
    assert drawn.arms == ("unet", "swin_unet", "swin_unet_finetuned", "ensemble")
