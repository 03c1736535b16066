"""One small member of every family of timm trains for a step, or is refused in one line."""

from __future__ import annotations

import pytest
import timm
import torch

from eocontrast.modalities import SENTINEL1
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

pytestmark = pytest.mark.slow

SIDE = 64
SPEC = InputSpec(SENTINEL1, (-12.0, -19.0), (5.0, 5.0), SIDE)
TRAINED = tuple(
    """
botnet26t_256 cait_xxs24_224 coat_tiny convit_tiny convnext_atto convnextv2_atto crossvit_tiny_240
cs3darknet_s deit_tiny_patch16_224 densenet121 dla34 edgenext_xx_small efficientnet_b0
efficientvit_b0 efficientvit_m0 fastvit_t8 ese_vovnet19b_dw eva02_tiny_patch14_224 gcresnet33ts
ghostnet_050 gmlp_ti16_224 hgnetv2_b0 hrnet_w18_small inception_next_atto lcnet_035
legacy_seresnet18 levit_128s mambaout_femto maxvit_rmlp_pico_rw_256 mobilenetv2_035
mobilenetv3_small_050 mobilenetv4_conv_small_050 mobileone_s0 mobilevit_xxs mobilevitv2_050
mvitv2_tiny nf_regnet_b0 pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnetx_002 repvgg_a0
repvit_m0_9 resmlp_12_224 resnet10t rexnet_100 selecsls42 shvit_s1 skresnet18 starnet_s1
swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 test_vit tf_efficientnet_lite0
tiny_vit_5m_224 twins_pcpvt_small visformer_tiny vit_tiny_patch16_224 xcit_nano_12_p16_224
    """.split()  # noqa: SIM905 - one name a line would take sixty
)
REFUSED = ["bat_resnext26ts", "efficientformer_l1", "halonet26t", "inception_v3"]
"""Families whose size is fixed in the weights, or which shrink an image more than 64 times."""


def images() -> dict[str, torch.Tensor]:
    return {"s1": torch.randint(1, 4000, (2, 2, SIDE, SIDE), dtype=torch.int32).to(torch.uint16)}


@pytest.mark.parametrize("name", TRAINED)
def test_family_trains_a_step(name: str) -> None:
    model = Classifier({"s1": Backbone(Architecture(name), {"s1": SPEC})}, 3).train()
    logits = model(images())
    assert logits.shape == (2, 3)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", REFUSED)
def test_family_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} does not take images of {SIDE} x {SIDE} pixels"):
        Backbone(Architecture(name), {"s1": SPEC})


def test_names_exist() -> None:
    assert all(timm.is_model(name) for name in (*TRAINED, *REFUSED))
