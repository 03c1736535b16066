"""Functions that worker processes import by name; they cannot import a test module."""

from __future__ import annotations

import os
import signal

from eocontrast.runtime.errors import UserError


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def refuse(number: int) -> int:
    raise UserError(f"{number} is no good")


def kept(which: str) -> int:
    return int(os.environ[f"MALLOC_{which}_THRESHOLD_"])


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
