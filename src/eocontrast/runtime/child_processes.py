"""Processes that work for another one, and end when it does."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
"""Of Linux' prctl: the signal that a process gets when its parent dies."""


def end_with(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Get a signal when the parent of this process ends, which would wait for work for ever.

    Args:
        parent: number of the process that started this one, which may have ended meanwhile.
        by: the signal.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        os.kill(os.getpid(), by)


@contextmanager
def ended_early() -> Iterator[None]:
    """End the processes that were started within, where the block is left before its end.

    Closing a pool waits for what its processes are at, which may be a training of minutes. They are
    asked to end, which lets a training write its checkpoint; and killed when the next signal comes.
    """
    before = multiprocessing.active_children()
    try:
        yield
    except BaseException:  # a signal, or a generator that is not asked for more
        started = set(multiprocessing.active_children()) - set(before)
        try:
            for process in started:
                process.terminate()
            for process in started:
                process.join()
        finally:
            for process in started:
                process.kill()
        raise
