"""How a stage starts and ends: a user's mistake is one message and exit code 2."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from eocontrast.errors import UserError


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Run the body of a stage; a `UserError` is printed without a traceback.

    Raises:
        SystemExit: with code 2 after a user's mistake.
    """
    for noisy in ("mlflow", "alembic"):  # table creation reports a hundred lines on first use
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        yield
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
