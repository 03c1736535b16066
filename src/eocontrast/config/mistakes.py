"""One-line messages about mistakes in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from eocontrast.runtime.errors import meant


def of_yaml(error: YAMLError) -> str:
    """Describe a YAML error, to follow the name of the file."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}: {error.problem}"
    return f" is no YAML: {' '.join(str(error).split())}"


def of_values(error: ValidationError, raw: object) -> str:
    """List every parameter that is missing, unknown or out of range, by its dotted key.

    Args:
        error: What pydantic found.
        raw: The parameters that it checked, whose names are suggested in place of unknown ones.
    """
    # a value that may also be the word `from-arm` would have two messages
    problems = [p for p in error.errors() if "from-arm" not in str(p["loc"][-1:])]
    return "; ".join(_of_value(problem, raw) for problem in problems or error.errors())


def in_short(value: object) -> str:
    """Return a value as Python writes it, cut after 200 characters."""
    told = repr(value)
    return told if len(told) < 200 else f"{told[:200]}..."


def _of_value(problem: ErrorDetails, raw: object) -> str:
    # the union of methods puts its tag behind the run's name, which is no key of the file
    loc = problem["loc"]
    tagged = loc[:2] == ("pretrain", "runs") and len(loc) > 3
    loc = loc[:3] + loc[4:] if tagged else loc
    # so does the union with `from-arm`
    loc = loc[:2] if loc[:1] == ("finetune",) and len(loc) == 3 and loc[1] != "recipe" else loc
    keys = ".".join(str(key) for key in loc)
    if problem["type"] == "extra_forbidden":
        return f"{keys} is no parameter{_suggested(loc, raw)}"
    if problem["type"] == "union_tag_invalid":
        tags = problem["ctx"]
        return f"{keys}.method is {tags['tag']!r}; expected {tags['expected_tags']}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("value_error", "missing"):
        return f"{keys} is missing" if problem["type"] == "missing" else message
    # pydantic adds why it could not parse the value, which the value shows
    expected = message.removeprefix("Input should be ").split(", unable to")[0]
    joint = "; expected" if expected != message else ":"
    return f"{keys} is {in_short(problem['input'])}{joint} {expected}"


def _suggested(loc: tuple[int | str, ...], raw: object) -> str:
    """Suggest a name beside an unknown one, which `-S +key=value` appends to the others."""
    for key in loc[:-1]:
        if not isinstance(raw, Mapping):
            return ""
        raw = raw.get(key)
    known = [str(key) for key in raw if key != loc[-1]] if isinstance(raw, Mapping) else []
    return meant(str(loc[-1]), known)
