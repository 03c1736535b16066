"""Foundation models that are no timm models: which package has the class of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Foundation:
    """A model whose class lives in its publisher's package.

    Attributes:
        sensors: Sensors that it takes.
        package: Requirement to install; empty if no package on the index has the class.
        home: Where class and weights are documented.
        licence: Licence of the weights.
    """

    sensors: str
    package: str
    home: str
    licence: str

    def refusal(self, name: str) -> str:
        """Return a message with what to install, and how to use the features meanwhile."""
        what = f"{name} is no timm model"
        if not self.package:
            return f"{what}, and no package on the index has its class; see {self.home}"
        return (
            f"{what}: its class is in another package, which eocontrast does not drive. Install it "
            f"with `pip install '{self.package}'` to load the model by its own code ({self.home})"
        )


_TORCHGEO = "torchgeo>=0.10"  # from Python 3.12 on

_BOTH, _CC_BY = "s1 s2", "CC-BY-4.0"

FOUNDATION: dict[str, Foundation] = {
    "croma_base": Foundation(_BOTH, _TORCHGEO, "torchgeo.models.croma_base", _CC_BY),
    "croma_large": Foundation(_BOTH, _TORCHGEO, "torchgeo.models.croma_large", _CC_BY),
    "dofa_base": Foundation(_BOTH, _TORCHGEO, "torchgeo.models.dofa_base_patch16_224", _CC_BY),
    "dofa_large": Foundation(_BOTH, _TORCHGEO, "torchgeo.models.dofa_large_patch16_224", _CC_BY),
    "copernicus_fm": Foundation(_BOTH, _TORCHGEO, "torchgeo.models.copernicusfm_base", _CC_BY),
    "galileo": Foundation(_BOTH, "", "its repository nasaharvest/galileo", "MIT"),
    "olmoearth": Foundation(
        _BOTH,
        "olmoearth-pretrain-minimal",
        "olmoearth_pretrain_minimal",
        "OlmoEarth Artifact License",
    ),
    "terramind": Foundation(_BOTH, "terratorch", "terratorch.BACKBONE_REGISTRY", "Apache-2.0"),
}
"""Models by name; `eocontrast weights` lists them apart."""
