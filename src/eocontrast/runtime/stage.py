"""Start and end of a stage: its arguments, and one line on stderr if it fails or is stopped."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from eocontrast.runtime.errors import UserError, resource_error
from eocontrast.runtime.signals import Stopped, stoppable


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run the body of a stage and print expected errors without a traceback.

    Raises:
        SystemExit: with code 2 after a user's mistake or if the machine ran out of something, with
            130 or 143 after a signal.
    """
    for noisy in ("mlflow", "alembic"):  # creating the tables logs a hundred lines
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        with stoppable():
            yield
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Stopped as stopped:
        print(f"{name}: stopped by {stopped}; `dvc repro` continues from here", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    except Exception as error:
        message = resource_error(error)
        if message is None:
            raise
        print(f"{name}: {message}; `dvc repro` continues from here", file=sys.stderr)
        raise SystemExit(2) from None


def run_stage(name: str, main: Callable[..., None]) -> None:
    """Call a stage's `main` with the arguments of the command line, converted by its signature.

    Raises:
        SystemExit: as in `stage`, and after a wrong command line.
    """
    with stage(name):
        main(*_arguments(main, sys.argv[1:]))


def _arguments(main: Callable[..., None], words: Sequence[str]) -> tuple[Any, ...]:
    signature = inspect.signature(main, eval_str=True)
    try:
        bound = signature.bind(*words)
    except TypeError as error:
        expected = " ".join(key.upper() for key in signature.parameters)
        raise UserError(f"{error}; expected: python {sys.argv[0]} {expected}") from error
    for key, word in bound.arguments.items():
        kind = signature.parameters[key].annotation
        if (choices := get_args(kind)) and word not in choices:
            raise UserError(f"{key} is {word!r}, which is none of {', '.join(choices)}")
        if kind is Path:
            bound.arguments[key] = Path(word)
    return bound.args
