"""The command `eocontrast params`, and changes to params.yaml that keep its comments."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text

_PARAMS = """\
Write the settings of an experiment into params.yaml. Comments stay.

CHANGES is a YAML file of the same form with only the keys that differ. Its list `remove` names
entries that the experiment does not have, by dotted keys. They are removed before the rest is set.

  eocontrast params experiments/p1.yaml
"""


def add_params_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `params` to the subcommands."""
    parser = commands.add_parser(
        "params",
        help="write the settings of an experiment into params.yaml",
        description=_PARAMS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=params)
    add = parser.add_argument
    add("changes", type=Path, metavar="CHANGES", help="such as experiments/p1.yaml")
    add_params_option(parser, "parameters to change")


def add_params_option(parser: argparse.ArgumentParser, use: str) -> None:
    """Add `--params`, the file of parameters, with its use in words."""
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE",
                        help=f"{use} (default: %(default)s)")  # fmt: skip


def params(arguments: argparse.Namespace) -> int:
    """Apply the changes and print the number of lines that changed.

    Raises:
        UserError: a file cannot be read, or the result is not valid.
    """
    from eocontrast.config.params import read_yaml

    file, changes = arguments.params, arguments.changes
    parsed, text = read_params(file)
    apply_changes(parsed, read_yaml(changes, _yaml()), changes, file)
    changed = write_params(file, parsed, text, f"{file} with {changes}")
    print(f"wrote {changed} lines of {file}")
    return 0


def apply_changes(params: CommentedMap, changes: object, name: Path, file: Path) -> None:
    """Remove entries from parameters, then set others.

    Args:
        params: Parameters, changed in place.
        changes: Content of a file of changes.
        name: Path of that file.
        file: Path of the parameters.

    Raises:
        UserError: `changes` is not a mapping, or an entry to remove does not exist.
    """
    if not isinstance(changes, Mapping):
        raise UserError(f"{name} holds {type(changes).__name__}; expected parameters by name")
    settings = dict(changes)
    for dotted in settings.pop("remove", ()):
        if not _remove(params, str(dotted).split(".")):
            raise UserError(
                f"{name} removes {dotted}, but {file} has no such entry. Is it changed already? "
                f"Run `git restore {file}`, then apply one file of changes"
            )
    _merge(params, settings)


def _remove(section: CommentedMap, keys: list[str]) -> bool:
    """Remove an entry and return whether there was one."""
    first, *rest = keys
    if not rest:
        return section.pop(first, section) is not section
    within = section.get(first)
    removed = isinstance(within, CommentedMap) and _remove(within, rest)
    if removed and not within:
        section[first] = CommentedMap()  # without a comment, behind which {} would be wrong YAML
        section.ca.items.pop(first, None)
    return removed


def _merge(params: CommentedMap, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if isinstance(value, Mapping) and isinstance(params.get(key), CommentedMap):
            _merge(params[key], value)
        else:
            params[key] = _in_lines(value)


def _in_lines(value: Any) -> Any:  # noqa: ANN401 - any YAML value
    """Let lists and mappings have a line per entry: `[...]` after a comment is wrong YAML."""
    if isinstance(value, CommentedSeq | CommentedMap) and value:
        value.fa.set_block_style()
        for part in value.values() if isinstance(value, CommentedMap) else value:
            _in_lines(part)
    return value


def read_params(file: Path) -> tuple[Any, str]:
    """Read parameters with their comments, and as text.

    Raises:
        UserError: there is no such file, or it is not valid.
    """
    from eocontrast.config.params import load_params

    if not file.is_file():
        raise UserError(f"{file}: no such file; run this in a clone of the project")
    load_params(file)  # refuses here what `dvc repro` would refuse later
    text = file.read_text(encoding="utf-8")
    return _yaml().load(text), text


def write_params(
    file: Path,
    parsed: Any,  # noqa: ANN401 - a YAML mapping
    before: str,
    name: str | None = None,
) -> int:
    """Check parameters, write them and return the number of lines that changed.

    Args:
        file: File to write.
        parsed: Parameters with their comments.
        before: Text of the file until now.
        name: What messages call the parameters; the file if None.

    Raises:
        UserError: a parameter is unknown or out of range; the file stays as it is.
    """
    from eocontrast.config.params import check_params

    text = entries_text(parsed)
    check_params(YAML(typ="safe", pure=True).load(text), name or str(file))
    write_text(file, text)
    return len([line for line in text.splitlines() if line not in before.splitlines()])


def entries_text(entries: Mapping[str, Any]) -> str:
    """Return lines to paste into params.yaml, in the block style of `dvc exp run -S`."""
    stream = StringIO()
    _yaml().dump(entries, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML()  # keeps comments
    yaml.width = 4096  # and does not break long ones
    yaml.default_flow_style = False
    # an empty value means the same, but reads as if something were missing
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
