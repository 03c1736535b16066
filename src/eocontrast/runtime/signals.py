"""Reactions to SIGINT (Ctrl-C) and to SIGTERM (`kill`, SLURM).

A stage stops at once, because its files are written whole or not at all. Pretraining defers the
first signal by one step to write its checkpoint; a second signal stops it at once.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """The process was asked to stop; not an error, so `except Exception` does not catch it.

    Attributes:
        exit_code: 130 after SIGINT and 143 after SIGTERM, as in shells.
    """

    def __init__(self, by: signal.Signals) -> None:
        super().__init__(by.name)
        self.exit_code = 128 + by


_waiting: signal.Signals | None = None
_deferred = False


def _note(number: int, frame: FrameType | None) -> None:
    global _waiting
    second, _waiting = _waiting is not None, signal.Signals(number)
    if second or not _deferred:
        raise Stopped(_waiting)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in the body when a signal arrives. Works in the main thread only."""
    global _waiting
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _waiting = None


@contextmanager
def deferred() -> Iterator[None]:
    """Defer the first signal to `stop_if_asked`, or to the end of the body.

    Raises:
        Stopped: a signal arrived.
    """
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
    stop_if_asked()


def asked_to_stop() -> bool:
    """Return whether a signal has arrived."""
    return _waiting is not None


def stop_if_asked() -> None:
    """Stop if a signal has arrived.

    Raises:
        Stopped: a signal has arrived.
    """
    if _waiting is not None:
        raise Stopped(_waiting)
