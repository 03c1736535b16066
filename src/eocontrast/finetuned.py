"""Fine-tuned models from their files alone, without the data that they learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eocontrast.errors import UserError
from eocontrast.models import model_from_header
from eocontrast.streams import Model
from eocontrast.weights import load_weights


def load_finetuned(file: Path) -> tuple[Model, dict[str, Any]]:
    """A fine-tuned model in eval mode, and its header.

    Raises:
        UserError: the file is none.
    """
    tensors, header = load_weights(file)
    if "classes" not in header:
        raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
    model = model_from_header(header)
    model.load_state_dict(tensors)
    return model.eval(), header
