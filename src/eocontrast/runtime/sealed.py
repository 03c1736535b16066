"""JSON that knows its own digest, and so may know those of other files.

A flipped bit is noticed, even one that leaves valid JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eocontrast.runtime.files import write_text

SEAL = "sha256"
"""The last key: digest of all others."""


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` and its digest; equal content gives equal bytes."""
    write_text(path, _sealed(content))


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` was given.

    Raises:
        OSError: the file is not there.
        ValueError: it is damaged, or was changed by hand.
    """
    text = path.read_text()
    content: dict[str, Any] = json.loads(text)
    if not isinstance(content, dict) or content.pop(SEAL, None) is None:
        raise ValueError(f"it does not end with the {SEAL} of its content")
    if _sealed(content) != text:
        raise ValueError(f"its content is not what its {SEAL} was taken of")
    return content


def refuse_other(path: Path, sha256: str) -> None:
    """Compare a file with the digest of the one that was meant.

    Raises:
        OSError: it is not there.
        ValueError: it is another one, or damaged.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{path.name} has sha256 {found[:12]}, {sha256[:12]} was written")


def _sealed(content: Mapping[str, Any]) -> str:
    seal = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return json.dumps({**content, SEAL: seal}, indent=1) + "\n"
