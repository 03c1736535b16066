"""Fine-tuned models from their files alone, without the data that they learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eocontrast.models.build import model_from_header
from eocontrast.models.model import Model
from eocontrast.models.weights import REWRITE, load_tensors, load_weights
from eocontrast.runtime.errors import UserError, readable


def load_finetuned(file: Path) -> tuple[Model, dict[str, Any]]:
    """A fine-tuned model in eval mode, and its header.

    Raises:
        UserError: the file is none.
    """
    tensors, header = load_weights(file)
    if "classes" not in header:
        raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
    with readable(f"the header of {file} is damaged", REWRITE):
        model = model_from_header(header)
    load_tensors(model, tensors, f"the tensors of {file}")
    return model.eval(), header
