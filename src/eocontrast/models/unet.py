"""A convolutional U-Net from scratch, the baseline of segmentation."""

from __future__ import annotations

from torch import Tensor, nn

from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Images
from eocontrast.models.model import Model
from eocontrast.models.segmenters import Sides, pad_to_multiple
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.runtime.errors import UserError


class UNet(Model):
    """A convolutional U-Net from scratch on all bands stacked (early fusion): the baseline.

    Args:
        architecture: Architecture of the encoder.
        inputs: Sensors in the order of their channels.
        num_classes: Channels of the logits.

    Raises:
        UserError: no U-Net can be built on this architecture.
    """

    def __init__(
        self, architecture: Architecture, inputs: dict[Sensor, InputSpec], num_classes: int
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.backbones = nn.ModuleDict()  # its encoder is no backbone that was pretrained
        self.images = Images(inputs)
        self.smp = create_unet(architecture, self.images.in_chans, num_classes)
        stride = int(self.smp.encoder.output_stride)  # type: ignore[union-attr, arg-type]
        self.multiple: Sides = (stride, stride)
        self.tile_multiple = stride

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (B, num_classes, H, W) of stored integers (B, bands, H, W) per sensor."""
        images = self.images(batch)
        height, width = images.shape[-2:]
        logits: Tensor = self.smp(pad_to_multiple(images, self.multiple))
        return logits[..., :height, :width]


def create_unet(architecture: Architecture, in_chans: int, num_classes: int) -> nn.Module:
    """Build a U-Net on a timm encoder, from (B, in_chans, H, W) to (B, num_classes, H, W).

    Raises:
        UserError: timm has no such model, it does not take these options, or its maps do not halve
            from stage to stage.
    """
    import segmentation_models_pytorch as smp  # 4 s, for the one model that is built on it

    name, options = architecture.name, architecture.options
    shape = {"in_channels": in_chans, "classes": num_classes, "encoder_weights": None}
    try:
        model = smp.Unet(f"tu-{name}", **shape, **architecture.any_size())
    # RuntimeError: no such model; IndexError: fewer stages than the model has without options
    except (TypeError, ValueError, AssertionError, RuntimeError, IndexError) as error:
        raise UserError(
            f"no U-Net can be built on {name} with options {options}: {error}; take a backbone "
            "whose maps halve from stage to stage, such as resnet18"
        ) from error
    assert isinstance(model, nn.Module)
    return model
