"""Functions for workers, which import them by name: they cannot import a test module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from eocontrast.runtime.errors import UserError


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


KEPT: list[bytes] = []
"""Memory that a worker keeps."""


def grow(_: int) -> int:
    KEPT.append(b"x" * 200 * 2**20)
    time.sleep(1.1)  # loky looks once a second
    return os.getpid()


def folder(_: int) -> Path:
    return Path.cwd()


def refuse(number: int) -> int:
    raise UserError(f"{number} is no good")


def refuse_first(number: int) -> int:
    if number:
        time.sleep(200)
    raise UserError(f"{number} is no good")


def die_at_two(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def cannot_be_read() -> None:
    raise ImportError("no such module in this process")


class Unreadable:
    """A value that can be pickled but not unpickled."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return cannot_be_read, ()


def unreadable(_: int) -> Unreadable:
    return Unreadable()


def show_and_sleep(number: int) -> int:
    if number:
        print(f"{os.getpid()}\n", end="", flush=True)  # one write: another worker prints too
        time.sleep(200)
    return number
