from __future__ import annotations

import pytest

from eocontrast.models.backbones import Architecture
from eocontrast.models.sizes import Part, check_sizes
from eocontrast.runtime.errors import UserError


@pytest.mark.parametrize(
    ("name", "part", "sides"),
    [
        ("resnet10t", "features", (32, 48)),
        ("mixer_s32_224", "features", (64,)),
        ("mma_vgg", "maps", (32, 48)),
        ("resnet10t", "unet", (32, 48)),
        ("efficientformer_l1", "unet", (224,)),
        ("vit_tiny_patch16_224", "upernet", (32, 48)),
        ("vit_tiny_patch16_224", "features", (32, 48)),
    ],
)
def test_sizes_that_a_model_takes(name: str, part: Part, sides: tuple[int, ...]) -> None:
    check_sizes(Architecture(name), part, sides)


@pytest.mark.parametrize(
    ("name", "part", "sides"),
    [
        ("mixer_s32_224", "features", (32, 64)),  # one set of weights per size
        ("halonet26t", "features", (48,)),
        ("vit_tiny_patch16_224", "unet", (32,)),  # its maps do not halve
        ("efficientformer_l1", "unet", (48,)),
        ("levit_128s", "maps", (32, 64)),
    ],
)
def test_sizes_that_a_model_refuses(name: str, part: Part, sides: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=f"{name}"):
        check_sizes(Architecture(name), part, sides)
