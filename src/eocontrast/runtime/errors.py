"""The one exception for what a user can mend, and how damage and unknown names become one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

Entry = TypeVar("Entry")

_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What readers raise of a file that is not there, not whole, or of another kind."""


COMES_BACK = "; if it comes back damaged, so is DVC's copy: see Damage in docs/reliability.md"
"""What follows a command that writes an output of a stage again."""


class UserError(Exception):
    """A mistake in parameters, data or paths.

    Its message says what was seen, what was expected and what to do. Stages print it without a
    traceback and end with exit code 2; every other exception is a defect of the project.
    """


def named(where: str, name: str, known: Mapping[str, Entry]) -> Entry:
    """The entry of that name.

    Raises:
        UserError: there is none; says which there are.
    """
    if name not in known:
        raise UserError(f"{name!r} is none of {where}: {', '.join(known)}")
    return known[name]


@contextmanager
def readable(otherwise: str, mend: str) -> Iterator[None]:
    """Within, whatever a missing or damaged file leads to is a mistake that a user can mend.

    Args:
        otherwise: which file is what, where it cannot be read.
        mend: what to do then.

    Raises:
        UserError: says both, and the reason.
    """
    try:
        yield
    except (*_DAMAGE, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise UserError(f"{otherwise} ({why[:300]}): {mend}") from error
