"""Build the model that a point of the curve trains, or load a trained one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eocontrast.models.backbones import Backbone
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.decoders import DECODERS
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.fusion import STREAMS, Fusion
from eocontrast.models.model import Model
from eocontrast.models.segmenters import EncoderDecoder
from eocontrast.models.swin_unet import SwinUNet
from eocontrast.models.weight_files import OTHER_VERSION, REWRITE, load_tensors, load_weights
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.errors import readable


def new_model(init: Pretrained, spec: FinetunedSpec) -> Model:
    """Build a model on the weights of `init`; other weights are drawn from torch's generator.

    Args:
        init: Pretrained backbones; without weights if its method is `random`.
        spec: Head, fusion and classes; for neighbours also task, recipe and number of labels.
    """
    num_classes = len(spec.classes)
    backbones = _backbones(init, spec.fusion)
    scales = spec.fusion == "scales"
    if spec.head == "swin_unet":
        return SwinUNet(backbones, num_classes, fuse_skips=scales)
    if spec.task == "segmentation":
        return EncoderDecoder(backbones, num_classes, DECODERS[spec.head], fuse_scales=scales)
    if spec.head == "linear":
        return Classifier(backbones, num_classes)
    return NeighbourClassifier(
        backbones,
        num_labelled=spec.n_labels - spec.n_validation,
        num_classes=num_classes,
        neighbours=spec.recipe["neighbours"],
        temperature=spec.recipe["neighbour_temperature"],
        exclusive=spec.learning.exclusive,
    )


def load_finetuned(file: Path) -> tuple[Model, FinetunedSpec]:
    """Return a fine-tuned model in eval mode, and its header.

    Raises:
        UserError: the file is missing, damaged, of another version or no fine-tuned model.
    """
    tensors, header = load_weights(file)
    with readable(f"the header of {file} does not fit: {OTHER_VERSION}", REWRITE):
        spec = FinetunedSpec.from_dict(header, str(file))
        empty = Pretrained("random", spec.architecture, {**spec.inputs}, {}, spec.data_digest)
        model = new_model(replace(empty, others={**spec.others}), spec)
    load_tensors(model, tensors, f"the tensors of {file}")
    return model.eval(), spec


def _backbones(init: Pretrained, fusion: Fusion) -> dict[str, Backbone]:
    backbones = {}
    for sensors in STREAMS[fusion]:
        inputs = {sensor: init.specs[sensor] for sensor in sensors}
        # stacked sensors have no pretrained weights: no run here trains one backbone on both
        single = len(sensors) == 1
        backbone = init.backbone(sensors[0]) if single else Backbone(init.architecture, inputs)
        backbones["_".join(sensors)] = backbone
    return backbones
