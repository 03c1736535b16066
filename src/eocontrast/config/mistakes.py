"""One-line messages about mistakes in params.yaml."""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.error import MarkedYAMLError, YAMLError


def of_yaml(error: YAMLError) -> str:
    """Describe a YAML error, to follow the name of the file."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f", line {error.problem_mark.line + 1}: {error.problem}"
    return f" is no YAML: {' '.join(str(error).split())}"


def of_values(error: ValidationError) -> str:
    """List every parameter that is missing, unknown or out of range, by its dotted key."""
    # a value that may also be the word `from-arm` would have two messages
    problems = [p for p in error.errors() if "from-arm" not in str(p["loc"][-1:])]
    return "; ".join(_of_value(problem) for problem in problems or error.errors())


def in_short(value: object) -> str:
    """Return a value as Python writes it, cut after 200 characters."""
    told = repr(value)
    return told if len(told) < 200 else f"{told[:200]}..."


def _of_value(problem: ErrorDetails) -> str:
    # the union of methods puts its tag behind the run's name, which is no key of the file
    loc = problem["loc"]
    tagged = loc[:2] == ("pretrain", "runs") and len(loc) > 3
    loc = loc[:3] + loc[4:] if tagged else loc
    # so does the union with `from-arm`
    loc = loc[:2] if loc[:1] == ("finetune",) and len(loc) == 3 and loc[1] != "recipe" else loc
    keys = ".".join(str(key) for key in loc)
    if problem["type"] == "extra_forbidden":
        return f"{keys} is no parameter"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("value_error", "missing"):
        return f"{keys} is missing" if problem["type"] == "missing" else message
    return f"{keys} is {in_short(problem['input'])}: {message}"
