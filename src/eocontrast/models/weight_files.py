"""Weights as safetensors, with all that is needed to use them in the file's header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, uint8

from eocontrast.runtime.errors import COMES_BACK, UserError, meant, readable
from eocontrast.runtime.files import whole

_HEADER = "eocontrast"

_DIGEST = "sha256"
"""Key of the header under which the digest of all other keys and of the tensors stands."""

REWRITE = f"run the stage that writes it again, `dvc repro -f -s <stage>`{COMES_BACK}"
"""Advice for weights that cannot be read."""

OTHER_VERSION = "another version of eocontrast wrote it"


def save_weights(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors, a JSON header and a digest of both; equal content gives equal bytes."""
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    text = _with_digest(header, contiguous)  # one entry: safetensors writes several in any order
    with whole(path) as partial:
        save_file(contiguous, partial, metadata={_HEADER: text})


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and header of a file that `save_weights` wrote.

    Raises:
        UserError: the file is missing, damaged or not one of ours.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        files = [each.name for each in path.parent.glob("*") if each.is_file()]
        hint = meant(path.name, files) or "; correct the path"
        raise UserError(f"{path}: {what}, expected a .safetensors file of weights{hint}")
    cure = REWRITE if path.suffix == ".safetensors" else "name a .safetensors file, as in models/"
    with readable(f"{path} cannot be read as weights", cure):
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {}).get(_HEADER)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(str(error)) from error
        if text is None:
            raise UserError(f"{path} is a safetensors file without eocontrast's header")
        header = dict(json.loads(text))
        if header.pop(_DIGEST, None) is None:
            raise UserError(f"{path} has no {_DIGEST}, so {OTHER_VERSION}: {REWRITE}")
        # weight files travel without DVC, which would notice damage
        if _with_digest(header, tensors) != text:
            raise ValueError(f"its content differs from the {_DIGEST} in its header")
    return tensors, header


def _with_digest(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the header as JSON, with a digest of it and of the tensors."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy().data)
    return json.dumps({**header, _DIGEST: digest.hexdigest()}, sort_keys=True)


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Load tensors into a model that has exactly these.

    Raises:
        UserError: a name or a shape differs, or a value is not finite.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{what} do not fit their header ({said}): {REWRITE}") from error
    # such weights load without an error and give NaN for every pixel
    odd = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if odd:
        raise UserError(f"{what} hold values that are no numbers in {odd[0]}: {REWRITE}")
