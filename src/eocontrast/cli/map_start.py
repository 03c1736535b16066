"""The network that `eocontrast map` trains: from scratch, or from pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eocontrast.config.arms import Arm, check_head, check_init
from eocontrast.config.params import Params
from eocontrast.config.published import PublishedRun
from eocontrast.modalities import Sensor
from eocontrast.models.fusion import Head
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.published.catalogue import entry
from eocontrast.published.convert import joined
from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.weights import obtain

# give ViTs UPerNet, which resizes their one map to four; a U-Net needs maps that halve
_HEADS: dict[str, Head] = {"swin_": "swin_unet", "vit_": "upernet", "torchgeo:": "upernet"}
"""Segmentation heads by the beginning of timm's name; other models take a U-Net."""


def read_init(names: Sequence[str]) -> Pretrained:
    """Read a file of pretrained weights, or obtain published ones and join them.

    Args:
        names: Path of a `.safetensors` file, or names of the catalogue, one per sensor.

    Raises:
        UserError: a file or a name is unknown or holds no weights, or two are of one sensor.
    """
    files = [Path(name) for name in names if name.endswith(".safetensors")]
    if not files:
        return joined([obtain(entry(name)) for name in names])
    if len(names) > 1:
        raise UserError("--init takes one file of weights, or one published name per sensor")
    init = Pretrained.load(files[0])
    if not init.trained:
        raise UserError(
            f"{files[0]} holds no weights, for its method is {init.method}; leave --init out to "
            "train from scratch"
        )
    return init


def scratch_arm(params: Params, sensors: Sequence[Sensor]) -> Arm:
    """Return the U-Net of params.yaml on these sensors.

    Raises:
        UserError: params.yaml has no such arm.
    """
    arm = _settings(params, "unet", pretrained=False)
    # stack both sensors: from scratch that is the baseline of P2 (docs/methods.md)
    return arm.model_copy(update={"fusion": "early" if len(sensors) > 1 else sensors[0]})


def pretrained_arm(
    params: Params,
    name: str,
    init: Pretrained,
    sensors: Sequence[Sensor],
    data: Mapping[Sensor, InputSpec],
) -> Arm:
    """Return a segmenter that starts from pretrained weights, with the settings of params.yaml.

    Prints a sensor that is left out because the weights were not trained on it.

    Args:
        params: All parameters.
        name: Name of the weights.
        init: The weights.
        sensors: Sensors that have an image.
        data: Input of the patch store by sensor.

    Raises:
        UserError: the weights are of another sensor, or need a band that the images do not have.
    """
    held = tuple(sensor for sensor in sensors if sensor in init.trained)
    if not held:
        raise UserError(
            f"{name} was trained on {' and '.join(init.trained)}, and there is an image of "
            f"{' and '.join(sensors)}; pass --{init.trained[0]}, or choose other weights"
        )
    for sensor in held:
        init.specs[sensor].channels(data[sensor].modality)  # refuses a missing band
    for sensor in sensors:
        if sensor not in held:
            print(f"{name} was trained on {' and '.join(init.trained)}: {sensor} is left out")
    models = [init.architecture_of(sensor).name for sensor in held]
    # by the first sensor: late fusion gives both the same kind of head
    heads = [head for begin, head in _HEADS.items() if models[0].startswith(begin)]
    head = heads[0] if heads else "unet"
    arm = _settings(params, head, pretrained=True)
    # maps of two architectures are joined only at the end
    several = arm.fusion if len(set(models)) == 1 else "late"
    fusion = held[0] if len(held) == 1 else several
    arm = arm.model_copy(update={"init": name, "head": head, "fusion": fusion})
    try:
        check_head("--init", arm)
        check_init("--init", arm, PublishedRun(**dict.fromkeys(init.trained, name)), models)
    except ValueError as error:
        raise UserError(str(error)) from error
    return arm


def _settings(params: Params, head: Head, pretrained: bool) -> Arm:
    """Return the first segmenter of params.yaml with this head; a pretrained one may have another.

    Learning rates suit the weights more than the head.
    """
    arms = [
        arm
        for arm in params.label_curve.named_arms.values()
        if (params.pretrain.inits[arm.init].method != "random") == pretrained
        and arm.task == "segmentation"
        and not arm.frozen
        and (pretrained or arm.head == head)
    ]
    if not arms:
        start = "pretrained weights" if pretrained else f"random weights with the head {head}"
        raise UserError(
            f"params.yaml has no segmenter on {start} under label_curve.arms, whose learning rates "
            "a map needs; restore it, for example with `git restore params.yaml`"
        )
    return next((arm for arm in arms if arm.head == head), arms[0])
