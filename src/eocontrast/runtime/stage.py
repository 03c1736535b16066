"""How a stage starts and ends: a user's mistake is one message and exit code 2.

So is what the machine has run out of. One that is asked to stop says how to go on, and exits as
shells expect it: 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_args

from eocontrast.runtime.child_processes import end_with
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.exhausted import exhausted
from eocontrast.runtime.signals import Stopped, stoppable

UNDER_DVC = "DVC_STAGE" in os.environ
"""Whether this process is there for one stage alone, and ends with it."""

if UNDER_DVC:
    # what a stage imports, after this module, is half a million objects and no garbage: to look
    # for some takes .6 s
    gc.disable()


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run the body of a stage; a `UserError` is printed without a traceback.

    Raises:
        SystemExit: with code 2 after a user's mistake or on a full disk, 130 or 143 after a signal.
    """
    for noisy in ("mlflow", "alembic"):  # table creation reports a hundred lines on first use
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with stoppable():
            yield
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Stopped as stopped:
        print(f"{name}: stopped by {stopped}; `dvc repro` goes on from here", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    except Exception as error:
        lacking = exhausted(error)
        if lacking is None:
            raise
        print(f"{name}: {lacking}; `dvc repro` goes on from here", file=sys.stderr)
        raise SystemExit(2) from None


def run_stage(name: str, main: Callable[..., None]) -> None:
    """Call a stage's `main` with the words of the command line, as its signature has them.

    Where DVC runs it, it stops when DVC is killed, and the process ends with the stage.

    Raises:
        SystemExit: as `stage` does, after a wrong command line as well.
    """
    gc.enable()
    with stage(name):
        if UNDER_DVC:  # the next `dvc repro` would do the same beside this one
            end_with(os.getppid(), signal.SIGTERM)
        main(*_arguments(main, sys.argv[1:]))
    if UNDER_DVC:
        _leave()


def _leave() -> NoReturn:
    """End this process without taking its modules apart, as multiprocessing ends its own.

    That takes torch 1.2 s, a quarter of a stage that has nothing to do.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _arguments(main: Callable[..., None], words: Sequence[str]) -> tuple[Any, ...]:
    signature = inspect.signature(main, eval_str=True)
    try:
        bound = signature.bind(*words)
    except TypeError as error:
        named = " ".join(key.upper() for key in signature.parameters)
        raise UserError(f"{error}; expected: python {sys.argv[0]} {named}") from error
    for key, word in bound.arguments.items():
        kind = signature.parameters[key].annotation
        if (choices := get_args(kind)) and word not in choices:
            raise UserError(f"{key} is {word!r}, which is none of {', '.join(choices)}")
        if kind is Path:
            bound.arguments[key] = Path(word)
    return bound.args
