import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.config.params import Params, check_params, load_params
from eocontrast.runtime.errors import UserError

MISSING = object()

MISTAKES: dict[str, tuple[str, object]] = {
    # dotted key of params.yaml -> what is wrong there; the message must name the key
    "epochs: no epochs": ("pretrain.runs.dual_simclr_resnet.epochs", 0),
    "epochs: half": ("pretrain.runs.dual_simclr_resnet.epochs", 1.5),
    "batch of one": ("pretrain.runs.dual_simclr_resnet.batch_size", 1),
    "warmup: longer than the run": ("pretrain.runs.dual_simclr_resnet.warmup_epochs", 1000),
    "groups: more than pairs": ("pretrain.runs.dual_simclr_resnet.groups_per_batch", 1000),
    "temperature: zero": ("pretrain.runs.dual_simclr_swin.temperature", 0),
    "temperature: missing": ("pretrain.runs.dual_simclr_swin.temperature", MISSING),
    "run: lr is a word": ("pretrain.runs.dual_simclr_resnet.lr", "fast"),
    "run: lr is infinite": ("pretrain.runs.dual_simclr_resnet.lr", float("inf")),
    "run: unknown key": ("pretrain.runs.dual_simclr_resnet.epoch", 3),
    "run: key of another method": ("pretrain.runs.random_resnet.epochs", 3),
    "run: unknown backbone": ("pretrain.runs.random_resnet.backbone", "resnet50"),
    "run: key of one sensor": ("pretrain.runs.simclr_s2.shared_crop", True),
    "run: key of two sensors": ("pretrain.runs.dual_simclr_resnet.jitter", 0.5),
    "shared_crop: missing": ("pretrain.runs.mma.shared_crop", MISSING),
    "sensor: unknown": ("pretrain.runs.simclr_s1.sensor", "s3"),
    "jitter: above one": ("pretrain.runs.simclr_s2.jitter", 1.1),
    "min_scale: no window": ("pretrain.runs.simclr_s2.min_scale", 0),
    "max_offset: negative": ("pretrain.runs.mma.max_offset", -1),
    "scaling: unknown": ("backbones.resnet.scaling", "max"),
    "scaling: missing": ("backbones.vgg.scaling", MISSING),
    "precision": ("precision", "fp16"),
    "data": ("data.pretrain", "sen12"),
    "section missing": ("normalise", MISSING),
    "test_fraction: all": ("normalise.test_fraction", 1.0),
    "shard: none": ("normalise.shard_mib", 0),
    "shift: perhaps": ("normalise.check_shift", "perhaps"),
    "drop_bands: missing": ("normalise.drop_bands", MISSING),
    "drop_bands: unknown": ("normalise.drop_bands", ["B10", "B13"]),
    "fill_bands: unknown": ("normalise.fill_bands", ["b10"]),
    "fill_bands: one word": ("normalise.fill_bands", "B10"),
    "patch_size: odd": ("sources.simulated.patch_size", 65),
    "units": ("sources.manifest.s1.units", "db"),
    "class beyond 16 bits": ("sources.manifest.classes.Forest", 70000),
    "splits: of no split": ("sources.dfc2020.splits", {"val": "val.csv"}),
    "splits: no list": ("sources.sen12ms.splits", {}),
    "find_overlaps: missing": ("sources.sen12ms.find_overlaps", MISSING),
    "unknown key at the top": ("finetun", {}),
    "init: unknown": ("finetune.init", "dual_simclr"),
    "fusion: unknown": ("finetune.fusion", "middle"),
    "fraction: zero": ("finetune.fraction", 0),
    "fraction: percent": ("finetune.fraction", 10),
    "fraction: not a number": ("finetune.fraction", float("nan")),
    "seed: negative": ("finetune.seed", -1),
    "val_fraction": ("finetune.recipe.classification.val_fraction", 0.6),
    "val_fraction of segmentation": ("finetune.recipe.segmentation.val_fraction", 0.6),
    "labels": ("finetune.recipe.classification.labels", "segmentation"),
    "labels of segmentation": ("finetune.recipe.segmentation.labels", "single_label"),
    "no neighbours": ("finetune.recipe.classification.neighbours", 0),
    "no temperature": ("finetune.recipe.classification.neighbour_temperature", 0),
    "no recipe of a task": ("finetune.recipe.segmentation", MISSING),
    "task": ("label_curve.arms.mma.mma.task", "detection"),
    "task of the single run": ("finetune.task", "classification"),
    "arm: unknown": ("finetune.arm", "dual_simclr_resnet"),
    "frozen: perhaps": ("finetune.frozen", "perhaps"),
    "lr: nothing": ("finetune.lr", None),
    "head": ("finetune.head", "mlp"),
    "modality_dropout: all": ("finetune.modality_dropout", 1.0),
    "modality_dropout: missing": ("label_curve.arms.random_resnet.late.modality_dropout", MISSING),
    "classes: a name that joins": ("sources.manifest.classes", {"a|b": 1}),
    "classes: a name for nothing": ("sources.manifest.classes", {"none": 0}),
    "no fractions": ("label_curve.fractions", []),
    "fractions: twice": ("label_curve.fractions", [0.1, 1, 1.0]),
    "seeds: twice": ("label_curve.seeds", [0, 1, 0]),
    "seeds: more of the same": ("label_curve.more_seeds", [0]),
    "pretraining without a seed": ("pretrain.runs.mma.seeds", []),
    "pretraining: a seed twice": ("pretrain.runs.mma.seeds", [1, 1]),
    "too few samples": ("label_curve.bootstrap_samples", 10),
    "arm: of another init": ("label_curve.arms.mma.mma.init", "random_resnet"),
    "arm: lr of an arm that is named like a method": (
        "label_curve.arms.dual_simclr_resnet.dual_simclr.lr",
        -1,
    ),
    "arm: a name that is no file name": ("label_curve.arms.random_resnet.my/arm", {}),
    "ensemble: one member": ("label_curve.ensembles.ensemble.second", MISSING),
    "ensemble: a name that is no file name": ("label_curve.ensembles.my/pair", {}),
    "qualitative: no patches": ("qualitative.patches", 0),
    "qualitative: a column is missing": ("qualitative.arms", MISSING),
}

SWIN_UNET = {"task": "segmentation", "head": "swin_unet", "init": "random_swin", "frozen": False}

COMBINATIONS: dict[str, tuple[dict[str, object], str]] = {
    # fields of an arm that are possible one by one -> what is wrong with them together
    "unknown init": ({"init": "nothing"}, r".* ?is 'nothing', which is none of dual_simclr_"),
    "knn does not segment": (
        {"task": "segmentation", "head": "knn"},
        "head knn does no segmentation; use linear or unet or upernet or swin_unet",
    ),
    "unet does not classify": (
        {"head": "unet", "fusion": "early"},
        "head unet does no classification; use linear or knn",
    ),
    "swin_unet does not classify": (
        {**SWIN_UNET, "task": "classification"},
        "head swin_unet does no classification; use linear or knn",
    ),
    "linear has no scales": (
        {"fusion": "scales"},
        "head linear has no fusion scales; use one of s1, s2, early, late",
    ),
    "knn is not early": (
        {"head": "knn", "frozen": True, "fusion": "early"},
        "head knn has no fusion early; use one of s1, s2, late",
    ),
    "linear segments at no scales": (
        {"task": "segmentation", "head": "linear", "fusion": "scales"},
        "head linear has no fusion scales; use one of s1, s2, early, late",
    ),
    "swin_unet is not early": (
        {**SWIN_UNET, "fusion": "early"},
        "head swin_unet has no fusion early; use one of s1, s2, late, scales",
    ),
    "swin_unet on a ResNet from scratch": (
        {**SWIN_UNET, "init": "random_resnet"},
        r"head swin_unet decodes a Swin.*random_resnet is a resnet10t.*swin_\*",
    ),
    "swin_unet on a pretrained ResNet": (
        {**SWIN_UNET, "init": "dual_simclr_resnet"},
        "head swin_unet decodes a Swin.*dual_simclr_resnet is a resnet10t",
    ),
    "swin_unet on MMA": ({**SWIN_UNET, "init": "mma"}, "head swin_unet.*mma is a mma_vgg"),
    "unet of a pretrained init is not early": (
        {"task": "segmentation", "head": "unet", "fusion": "early", "init": "dual_simclr_resnet"},
        "fusion early.*dual_simclr_resnet has one backbone per sensor; use fusion late",
    ),
    "unet on a plain ViT": (
        {"task": "segmentation", "head": "unet", "init": "random_vit"},
        "head unet needs maps that halve.*random_vit has a plain.*use head upernet or linear",
    ),
    "frozen unet from scratch": (
        {"task": "segmentation", "head": "unet", "init": "random_resnet", "frozen": True},
        "frozen needs a pretrained init, but random_resnet is of method random",
    ),
    "early fusion of one backbone a sensor": (
        {"fusion": "early", "init": "dual_simclr_resnet"},
        "fusion early.*dual_simclr_resnet has one backbone per sensor; use fusion late",
    ),
    "early fusion of MMA": ({"fusion": "early", "init": "mma"}, "fusion early.*mma has one"),
    "frozen from scratch": (
        {"frozen": True, "init": "random_resnet"},
        "frozen needs a pretrained init, but random_resnet is of method random",
    ),
    "a frozen segmenter from scratch": (
        {**SWIN_UNET, "frozen": True},
        "frozen needs a pretrained init, but random_swin is of method random",
    ),
    "knn from scratch": (
        {"head": "knn", "frozen": True, "init": "random_resnet"},
        "needs a pretrained init, but random_resnet is of method random",
    ),
    "knn that is not frozen": (
        {"head": "knn", "frozen": False, "init": "dual_simclr_resnet"},
        "head knn trains nothing; set frozen to true",
    ),
    "SimCLR of Sentinel-2 with both": (
        {"init": "simclr_s2", "fusion": "late"},
        "fusion late needs s1, but simclr_s2 pretrains s2 alone; use fusion s2",
    ),
    "SimCLR of Sentinel-1 with the other": (
        {"init": "simclr_s1", "fusion": "s2"},
        "fusion s2 needs s2, but simclr_s1 pretrains s1 alone; use fusion s1",
    ),
    "dropout of the only sensor": (
        {"fusion": "s2", "modality_dropout": 0.5},
        "modality_dropout leaves out one of two sensors, but fusion s2 has one; set it to 0.0",
    ),
}

POSSIBLE: dict[str, dict[str, object]] = {
    "frozen": {"frozen": True},
    "knn": {"head": "knn", "frozen": True},
    "knn of one sensor": {"head": "knn", "frozen": True, "fusion": "s1", "init": "simclr_s1"},
    "early": {"fusion": "early", "init": "random_resnet"},
    "early with a sensor missing": {
        "fusion": "early",
        "init": "random_resnet",
        "modality_dropout": 0.5,
    },
    "swin as a classifier": {"init": "dual_simclr_swin"},
    "simclr": {"fusion": "s2", "init": "simclr_rgb"},
    "mma": {"init": "mma", "frozen": True, "modality_dropout": 0.5},
    "unet": {"task": "segmentation", "head": "unet", "init": "random_resnet", "fusion": "s1"},
    "unet of a pretrained ResNet": {"task": "segmentation", "head": "unet", "fusion": "scales"},
    "unet of MMA": {"task": "segmentation", "head": "unet", "init": "mma", "frozen": True},
    "upernet on a ViT": {"task": "segmentation", "head": "upernet", "init": "random_vit"},
    "linear per pixel": {"task": "segmentation", "head": "linear", "frozen": True},
    "swin_unet of one sensor": {**SWIN_UNET, "fusion": "s2"},
    "swin_unet at all scales": {**SWIN_UNET, "fusion": "scales"},
    "swin_unet frozen": {**SWIN_UNET, "init": "dual_simclr_swin", "frozen": True},
}


@pytest.fixture
def raw() -> dict[str, Any]:
    """The committed parameters, with SimCLR of every sensor and of some bands."""
    loaded: dict[str, Any] = YAML(typ="safe").load(PARAMS)
    runs = loaded["pretrain"]["runs"]
    vit = {"name": "vit_tiny_patch16_224", "options": {}, "scaling": "band_statistics"}
    loaded["backbones"]["vit"] = vit
    runs["random_vit"] = {"method": "random", "backbone": "vit"}
    runs["simclr_s1"] = {**runs["simclr_s2"], "sensor": "s1"}
    runs["simclr_rgb"] = {**runs["simclr_s2"], "bands": ["B04", "B03", "B02"]}
    return loaded


def put(raw: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    *parents, key = where.split(".")
    section = raw
    for parent in parents:
        section = section[parent]
    if value is MISSING:
        del section[key]
    else:
        section[key] = value
    return raw


def test_the_committed_file_loads() -> None:
    params = load_params(PARAMS)
    assert params.single_arm == params.label_curve.named_arms["dual_simclr"]


def test_every_arm_and_run_of_the_committed_file_is_read() -> None:
    params, raw = load_params(PARAMS), YAML(typ="safe").load(PARAMS)
    by_init = raw["label_curve"]["arms"]
    assert list(params.label_curve.named_arms) == [n for arms in by_init.values() for n in arms]
    for init, arms in by_init.items():
        for name, arm in arms.items():
            found = params.label_curve.named_arms[name].model_dump()
            assert found == {**arm, "init": init}
    assert list(params.label_curve.ensembles) == list(raw["label_curve"]["ensembles"])
    assert list(params.pretrain.runs) == list(raw["pretrain"]["runs"])
    assert params.label_curve.fractions == tuple(raw["label_curve"]["fractions"])


@pytest.mark.parametrize(("where", "value"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_named(raw: dict[str, Any], where: str, value: object) -> None:
    with pytest.raises(UserError) as caught:
        check_params(put(raw, where, value), "my.yaml")
    assert where in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")


@pytest.mark.parametrize("value", [{"val": "val.csv"}, {}, 3, ["a.csv"], {"test": None}])
def test_lists_of_a_split_that_are_none_are_told_once(raw: dict[str, Any], value: object) -> None:
    with pytest.raises(UserError) as caught:
        check_params(put(raw, "sources.dfc2020.splits", value), "my.yaml")
    expected = f"my.yaml: sources.dfc2020.splits is {value!r}: Expected none, a file that lists"
    assert str(caught.value).startswith(expected)
    assert ";" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["host/folder", "file:///data", "ftp://", "https:///a", "http://a b"]
)
def test_an_address_is_that_of_a_folder_on_a_server(raw: dict[str, Any], url: str) -> None:
    raw["sources"]["sen12ms"]["url"] = url
    with pytest.raises(
        UserError, match=rf"sen12ms\.url is '{url}': .* such as https://host/folder"
    ):
        check_params(raw)


def test_a_slash_at_the_end_of_an_address_means_the_same(raw: dict[str, Any]) -> None:
    raw["sources"]["sen12ms"]["url"] = "ftp://user:password@host/folder/"
    assert check_params(raw).sources.sen12ms.url == "ftp://user:password@host/folder"


@pytest.mark.parametrize("value", [None, "none", "a.csv", {"train": "a.csv", "test": "b.csv"}])
def test_lists_of_a_split(raw: dict[str, Any], value: object) -> None:
    found = check_params(put(raw, "sources.dfc2020.splits", value)).sources.dfc2020.splits
    parsed = {name: str(path) for name, path in found.items()} if isinstance(found, dict) else found
    expected = None if value == "none" else value
    assert parsed == (Path(expected) if isinstance(expected, str) else expected)


def test_few_labels_and_frozen_heads_have_more_seeds() -> None:
    curve = load_params(PARAMS).label_curve.model_copy(
        update={"seeds": (0, 1), "more_seeds": (2, 5), "more_seeds_up_to": 0.1}
    )
    arms, more = curve.named_arms, (0, 1, 2, 5)
    assert curve.seeds_of(arms["late"], 0.1) == curve.seeds_of(arms["late"], 0.01) == more
    assert curve.seeds_of(arms["late"], 0.5) == (0, 1)
    assert curve.seeds_of(arms["dual_simclr_frozen"], 1.0) == more
    assert curve.seeds_of(arms["unet"], 0.1) == more
    assert curve.seeds_of(arms["unet"], 1.0) == (0, 1)
    # its decoder is trained on pixels, for minutes
    assert curve.seeds_of(arms["swin_unet_dual_frozen"], 1.0) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supervised": "early_late"}, "which is none of .*; did you mean"),
        ({"supervised": "unet"}, "is unet, which is no supervised arm of classification"),
        ({"supervised": "dual_simclr"}, "is dual_simclr, which is no supervised arm"),
        ({"pretrained": "late"}, "is late, which is no pretrained arm of classification"),
    ],
)
def test_headline_of_wrong_arms(changes: dict[str, str], message: str) -> None:
    raw = YAML(typ="safe").load(PARAMS)
    raw["label_curve"]["headline"]["classification"] |= changes
    with pytest.raises(UserError, match=message):
        check_params(raw)


@pytest.mark.parametrize("name", ["auto", "none", "ensemble"])
def test_headline_without_one_arm(name: str) -> None:
    raw = YAML(typ="safe").load(PARAMS)
    raw["label_curve"]["headline"]["segmentation"]["pretrained"] = name
    assert check_params(raw).label_curve.headline["segmentation"].pretrained == name


def test_words_stand_for_nothing() -> None:
    """`dvc exp run -S` writes each null as a blank, so the shipped file has none."""
    assert "null" not in PARAMS.read_text()
    sources = load_params(PARAMS).sources
    assert (sources.bigearthnet.path, sources.bigearthnet.md5s) == ("sample", None)
    for published in (sources.sen12ms, sources.dfc2020):
        assert (published.path, published.md5s, published.splits) == (None, None, None)
    assert sources.dfc2020.url.startswith("https://huggingface.co/")


def test_an_unknown_method_is_named_with_those_there_are(raw: dict[str, Any]) -> None:
    put(raw, "pretrain.runs.dual_simclr_swin.method", "moco")
    with pytest.raises(UserError, match=r"swin\.method is 'moco'; expected .*'dual_simclr'"):
        check_params(raw)


def test_a_band_twice_is_named(raw: dict[str, Any]) -> None:
    put(raw, "pretrain.runs.simclr_rgb.bands", ["B04", "B03", "B04"])
    with pytest.raises(UserError, match=r"simclr_rgb\.bands.*twice: B04, B03, B04"):
        check_params(raw)


def test_a_run_says_which_sensors_an_arm_may_start_from(raw: dict[str, Any]) -> None:
    runs = check_params(raw).pretrain.runs
    sensors = {name: runs[name].sensors for name in ("simclr_s1", "simclr_rgb", "mma")}
    assert sensors == {"simclr_s1": ("s1",), "simclr_rgb": ("s2",), "mma": ("s1", "s2")}
    assert runs["random_swin"].sensors == runs["dual_simclr_resnet"].sensors == ("s1", "s2")


def test_all_mistakes_are_named_at_once(raw: dict[str, Any]) -> None:
    put(raw, "finetune.fraction", 2)
    put(raw, "normalise.seed", "zero")
    with pytest.raises(UserError, match=r"normalise\.seed.*finetune\.fraction"):
        check_params(raw)


def test_bands_are_filled_where_a_sensor_has_one_of_that_name(raw: dict[str, Any]) -> None:
    put(raw, "sources.manifest.s1.bands", ["VV", "VH", "HV"])
    put(raw, "normalise.fill_bands", ["B10", "HV"])
    assert check_params(raw).fill_bands == {"s1": ("HV",), "s2": ("B10",)}


def test_a_band_of_no_source_is_told_with_those_that_are(raw: dict[str, Any]) -> None:
    put(raw, "sources.manifest.s2.bands", ["B02", "NIR"])
    put(raw, "normalise.drop_bands", ["B13"])
    with pytest.raises(UserError, match=r"B13, .* no source; known are s1: VV, VH; s2: B01, .*NIR"):
        check_params(raw)


def test_a_band_is_dropped_or_filled(raw: dict[str, Any]) -> None:
    for name in ("drop_bands", "fill_bands"):
        put(raw, f"normalise.{name}", ["B10"])
    with pytest.raises(UserError, match=r"drop_bands and normalise\.fill_bands both name B10"):
        check_params(raw)


def test_a_filled_band_has_one_sensor(raw: dict[str, Any]) -> None:
    for sensor in ("s1", "s2"):
        put(raw, f"sources.manifest.{sensor}.bands", ["B1", sensor])
    put(raw, "normalise.fill_bands", ["B1"])
    with pytest.raises(UserError, match=r"fill_bands names B1, which both sensors have"):
        check_params(raw)


ARMS = pytest.mark.parametrize("where", ["finetune", "label_curve.arms"])


def put_all(raw: dict[str, Any], where: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """Change the single run, or add an arm with these fields to the curve."""
    arms = raw["label_curve"]["arms"]
    if where == "finetune":
        # the single run takes its task from an arm
        if fields.get("task") == "segmentation":
            put(raw, "finetune.arm", "swin_unet_dual")
        for name, value in fields.items():
            if name != "task":
                put(raw, f"finetune.{name}", value)
        return raw
    arm = arms["dual_simclr_resnet"]["dual_simclr"] | fields
    init = arm.pop("init", "dual_simclr_resnet")
    arms.setdefault(init, {})["added"] = arm
    return raw


@ARMS
@pytest.mark.parametrize(("fields", "says"), COMBINATIONS.values(), ids=list(COMBINATIONS))
def test_an_arm_that_cannot_be_is_refused_by_name(
    raw: dict[str, Any], where: str, fields: dict[str, object], says: str
) -> None:
    with pytest.raises(UserError, match=rf"{where}[:.].*{says}|{where}\.{says}"):
        check_params(put_all(raw, where, fields))


@ARMS
@pytest.mark.parametrize("fields", POSSIBLE.values(), ids=list(POSSIBLE))
def test_an_arm_that_can_be_is_taken(
    raw: dict[str, Any], where: str, fields: dict[str, object]
) -> None:
    params = check_params(put_all(raw, where, fields))
    assert {"s1", "s2"} >= set(params.single_arm.sensors)


def test_arm_listed_twice(raw: dict[str, Any]) -> None:
    arms = raw["label_curve"]["arms"]
    arms["dual_simclr_resnet"]["mma"] = arms["mma"]["mma"]
    expected = r"arms\.dual_simclr_resnet and .*arms\.mma both have an arm mma|arms\.mma and .*"
    with pytest.raises(UserError, match=expected):
        check_params(raw)


def test_arms_of_unknown_init(raw: dict[str, Any]) -> None:
    arms = raw["label_curve"]["arms"]
    arms["simclr_s3"] = {"another": arms["mma"]["mma"]}
    expected = r"label_curve\.arms\.simclr_s3 is 'simclr_s3', .* did you mean simclr_s"
    with pytest.raises(UserError, match=expected):
        check_params(raw)


def test_an_arm_of_imported_weights_may_ask_for_both_sensors(raw: dict[str, Any]) -> None:
    run = {"method": "imported", "backbone": "resnet", "file": "a.safetensors", "sha256": "0" * 64}
    put(raw, "pretrain.runs.mine", run)
    for fusion in ("s1", "s2", "late"):
        check_params(put_all(raw, "finetune", {"init": "mine", "fusion": fusion}))
    with pytest.raises(UserError, match="fusion early"):
        check_params(put(raw, "finetune.fusion", "early"))


@pytest.mark.parametrize(
    ("name", "members", "says"),
    [
        ("pair", ("unet", "nothing"), r"pair\.second is 'nothing', which is none of"),
        ("pair", ("nothing", "unet"), r"pair\.first is 'nothing', which is none of"),
        ("late", ("s1", "s2"), "late has the name of an arm; give it another"),
        ("pair", ("late", "unet"), "pair: late does classification, unet segmentation; both must"),
        ("pair", ("s1", "s2"), "pair: s1 takes s1, s2 s2; both must take the same sensors"),
        ("pair", ("late", "s2"), "pair: late takes s1 and s2, s2 s2; both must take the same"),
    ],
)
def test_an_ensemble_that_cannot_be_is_refused_by_name(
    raw: dict[str, Any], name: str, members: tuple[str, str], says: str
) -> None:
    pair = dict(zip(("first", "second"), members, strict=True))
    with pytest.raises(UserError, match=rf"label_curve\.ensembles\.{says}"):
        check_params(put(raw, f"label_curve.ensembles.{name}", pair))


def test_an_ensemble_may_join_early_and_late_fusion(raw: dict[str, Any]) -> None:
    pair = {"first": "early", "second": "dual_simclr_frozen"}
    assert (
        "pair" in check_params(put(raw, "label_curve.ensembles.pair", pair)).label_curve.ensembles
    )


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("arms", ["nothing"], "arms is 'nothing', which is none of"),
        ("arms", ["unet", "dual_simclr"], "arms has dual_simclr, which does no segmentation"),
        ("arms", ["unet", "unet"], "arms names one twice"),
        ("fraction", 0.2, r"fraction is 0\.2, which is none of label_curve\.fractions"),
        ("seed", 7, r"seed is 7, which is none of label_curve\.seeds"),
    ],
)
def test_a_drawn_point_must_be_on_the_curve(
    raw: dict[str, Any], field: str, value: object, says: str
) -> None:
    with pytest.raises(UserError, match=rf"qualitative\.{says}"):
        check_params(put(raw, f"qualitative.{field}", value))


@pytest.mark.parametrize(
    ("fusion", "sensors"),
    [("s1", ("s1",)), ("early", ("s1", "s2")), ("late", ("s1", "s2"))],
)
def test_an_arm_knows_its_sensors(
    raw: dict[str, Any], fusion: str, sensors: tuple[str, ...]
) -> None:
    put_all(raw, "finetune", {"fusion": fusion, "init": "random_resnet"})
    assert check_params(raw).single_arm.sensors == sensors


def test_parameters_are_frozen(raw: dict[str, Any]) -> None:
    params = check_params(raw)
    with pytest.raises(ValueError, match="frozen"):
        params.finetune.fraction = 0.5  # type: ignore[misc]


def test_bands_of_the_manifest_are_checked_as_a_modality(raw: dict[str, Any]) -> None:
    params = check_params(put(raw, "sources.manifest.s2.valid_range", [5.0, 5.0]))
    with pytest.raises(UserError, match="valid_range"):
        params.sources.manifest.s2.modality()
    assert params.sources.manifest.s1.modality().bands == ("VV", "VH")


def test_a_run_of_one_group_a_batch_may_not_mask_it(raw: dict[str, Any]) -> None:
    put(raw, "pretrain.runs.mma.groups_per_batch", 1)
    put(raw, "pretrain.runs.mma.mask_same_group", True)
    with pytest.raises(UserError, match=r"pretrain\.runs\.mma\.groups_per_batch is 1.*negatives"):
        check_params(raw)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2", ", line 1: expected ',' or ']'"),
        ("a: 1\na: 2\n", ', line 2: found duplicate key "a" with value "2"'),
        ("a: 1\n b: 2", ", line 2: mapping values are not allowed here"),
        ("a: !!python/name:os.system x", ", line 1: could not determine a constructor"),
        ("", " is empty, which has none of the sections that it needs: precision, data, "),
        ("- 1\n- 2\n", r" is [1, 2], which has none of the sections"),
        ("\x00", " is no YAML: unacceptable character #x0000"),
        ("just words", " is 'just words', which has none of the sections"),
        ("a: 2024-13-45", " cannot be read (month must be in 1..12): "),
        ("[" * 10_000, " cannot be read (maximum recursion depth exceeded"),
        (f"normalise: {'[' * 200}{']' * 200}", ": precision is missing; data is missing; "),
    ],
)
def test_a_file_that_holds_no_parameters_is_told_in_one_line(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path}{says}")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml"):
        load_params(tmp_path / "gone.yaml")


def test_exponents_are_numbers(tmp_path: Path, raw: dict[str, Any]) -> None:
    """PyYAML reads 1e-4 as a string."""
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(r"\blr: \S+", "lr: 5e-4", PARAMS.read_text()))
    run = load_params(path).pretrain.runs["dual_simclr_resnet"]
    assert run.model_dump()["lr"] == 0.0005


def test_every_section_refuses_unknown_keys() -> None:
    """Down to the last section: a misspelt key must never be a default."""
    sections: list[Mapping[str, Any]] = [Params.model_json_schema()["$defs"]]
    objects = [s for s in sections[0].values() if s.get("type") == "object"]
    assert len(objects) > 10
    assert all(section["additionalProperties"] is False for section in objects)


def test_members_of_an_ensemble_are_scored_together_and_every_other_arm_alone(
    raw: dict[str, Any],
) -> None:
    curve = check_params(raw).label_curve
    *alone, pair = curve.scored_together
    assert pair == ("unet", "swin_unet_dual", "ensemble")
    assert [arm for (arm,) in alone] == [arm for arm in curve.named_arms if arm not in pair]


def test_an_arm_of_two_ensembles_is_scored_with_each(raw: dict[str, Any]) -> None:
    raw["label_curve"]["ensembles"]["swins"] = {"first": "swin_unet", "second": "swin_unet_dual"}
    together = check_params(raw).label_curve.scored_together
    assert together[-2:] == [
        ("unet", "swin_unet_dual", "ensemble"),
        ("swin_unet", "swin_unet_dual", "swins"),
    ]
