"""Reading of checkpoints that others saved. No code in a pickle is executed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from eocontrast.runtime.errors import UserError, some

State = dict[str, Tensor]

_NESTED = ("state_dict", "model", "model_state_dict", "teacher")
"""Keys under which checkpoints keep the weights, beside the optimiser and the like.

DINO evaluates its teacher, so that the student is not read.
"""


def read_checkpoint(path: Path) -> State:
    """Read the tensors of a file by torch.save, or of a safetensors file, without running code.

    Raises:
        UserError: the file is missing, damaged, holds code, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    # safetensors begins with the length of its JSON header, 8 bytes
    saved = _read_safetensors(path) if start[8:] == b"{" else _read_torch(path)
    entries: dict[str, Any] = saved if isinstance(saved, dict) else {}
    # under the known keys first: beside them lie optimisers, whose moments are tensors too
    for candidate in (*(entries.get(key) for key in _NESTED), entries, _parts(entries)):
        items = candidate.items() if isinstance(candidate, dict) else ()
        tensors = {str(name): tensor for name, tensor in items if isinstance(tensor, Tensor)}
        if tensors:
            return tensors
    raise UserError(
        f"{path} holds no weights: expected names and tensors, alone or under one of "
        f"{', '.join(_NESTED)}; got {some(entries) if entries else type(saved).__name__}"
    )


def _parts(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of CROMA's file, which keeps a dictionary per part of the model."""
    # such as `s1_encoder` and `s1_GAP_FFN`, the layers after the mean of its tokens
    parts = [part for part in entries if part.endswith(("_encoder", "_GAP_FFN"))]
    return {f"{part}.{name}": tensor for part in parts for name, tensor in entries[part].items()}


def _read_safetensors(path: Path) -> State:
    try:
        # safetensors holds numbers and a JSON header, so there is no code to run
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no whole safetensors file: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is an exception
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # damage ends in any exception, KeyError included
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            reason = "is no checkpoint of torch.save or not a whole one; it was not executed"
        else:
            reason = (
                f"holds code or objects beside tensors ({refused[1]}); it was not executed. If you "
                "trust its source, save its state_dict alone, elsewhere, and import that"
            )
            if "Namespace" in refused[1]:  # DINO and MAE keep the training's arguments so
                reason += (
                    "; the publisher's encoder-only file (`_enc` in its name) has no arguments"
                )
        raise UserError(f"{path} {reason}") from error
