"""How a run is asked to stop: Ctrl-C (SIGINT), or SIGTERM from `kill` and from SLURM.

A stage stops where it stands, for its files are written whole or not at all. A training that keeps
a checkpoint defers that by a step, so that it can write one first; who asks twice does not wait.
Its workers are told by the stage, and do the same.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The process was asked to stop; no error, so that no `except Exception` holds it up.

    Attributes:
        by: the signal.
        exit_code: 130 after SIGINT, 143 after SIGTERM, as shells have it.
    """

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(by.name)
        self.by, self.exit_code = by, 128 + by


@dataclass
class _Wish:
    """What was asked for, and whether that may wait."""

    deferred: bool = False
    by: signal.Signals | None = None

    def note(self, number: int, frame: FrameType | None) -> None:
        second, self.by = self.by is not None, signal.Signals(number)
        if second or not self.deferred:
            raise Stopped(self.by)

    def note_in_worker(self, number: int, frame: FrameType | None) -> None:
        self.by = signal.Signals(number)
        if not self.deferred:
            os._exit(128 + number)  # it may wait for work, where nobody would catch an exception


_wish = _Wish()


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, both signals raise `Stopped`; the main thread alone may ask for that."""
    before = {number: signal.signal(number, _wish.note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _wish.by = None


def stoppable_worker() -> None:
    """From here on this process, which a stage has forked, ends by SIGTERM, or defers that.

    Ctrl-C reaches all processes of a terminal, and so may SIGTERM: who is told twice still waits,
    for the stage itself kills the worker when nobody wants to wait.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _wish.note_in_worker)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, the first signal waits for `stop_if_asked`, or for the end of the block.

    Raises:
        Stopped: a signal came.
    """
    _wish.deferred = True
    try:
        yield
    finally:
        _wish.deferred = False
    stop_if_asked()


def asked_to_stop() -> bool:
    """Whether a signal waits."""
    return _wish.by is not None


def stop_if_asked() -> None:
    """Stop now, if a signal waits.

    Raises:
        Stopped: it does.
    """
    if _wish.by is not None:
        raise Stopped(_wish.by)
