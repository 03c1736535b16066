"""Foundation models that eocontrast does not drive: why, and which package has their class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Foundation:
    """A model whose class is neither timm's nor torchgeo's.

    Attributes:
        package: Requirement to install; empty if no package on the index has the class.
        home: Where class and weights are documented.
        licence: Licence of the weights.
        reason: Why it is not driven.
    """

    package: str
    home: str
    licence: str
    reason: str

    def refusal(self, name: str) -> str:
        """Return a message with the reason, and what to install for the model's own code."""
        what = f"{name} is not among the weights that eocontrast drives: {self.reason}"
        if not self.package:
            return f"{what}; see {self.home}"
        return f"{what}. `pip install {self.package}` has it by its own code ({self.home})"


FOUNDATION: dict[str, Foundation] = {
    "galileo": Foundation(
        "",
        "its repository nasaharvest/galileo",
        "MIT",
        "no package on the index has its class",
    ),
    "olmoearth": Foundation(
        "olmoearth-pretrain-minimal",
        "olmoearth_pretrain_minimal",
        "OlmoEarth Artifact License",
        "it needs the month of each image, which patch stores do not record",
    ),
    "terramind": Foundation(
        "terratorch",
        "terratorch.BACKBONE_REGISTRY",
        "Apache-2.0",
        "its package needs one version of torchgeo, which Python 3.11 does not have",
    ),
}
"""Models by name; `eocontrast weights` lists them apart. All take Sentinel-1 and Sentinel-2."""
