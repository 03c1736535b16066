"""Measure how many labels self-supervised pretraining saves on your own satellite images.

backbone = eocontrast.load_backbone("dual_simclr_swin.safetensors", "s2")
images = backbone.input_spec.prepare(values, bands=["B02", "B03", "B04", "B08"], units="DN")
features = backbone(images)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eocontrast.runtime.errors import UserError

# MLflow asks when it is imported, whichever module is the first to do so
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

if TYPE_CHECKING:
    from eocontrast.models.reuse import load_backbone

__all__ = ["UserError", "load_backbone"]

_LATE = {"load_backbone": "eocontrast.models.reuse"}
"""torch and timm take seconds to import: whoever asks for a name waits for it, nobody else."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
