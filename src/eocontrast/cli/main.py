"""The command `eocontrast`: commands to run outside the DVC pipeline."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from eocontrast.cli.audit import add_audit_command
from eocontrast.cli.import_weights import add_import_command
from eocontrast.cli.map import add_map_command
from eocontrast.cli.params import add_params_command
from eocontrast.cli.plan import add_plan_command
from eocontrast.cli.scenes import add_scene_commands
from eocontrast.cli.start import add_start_command
from eocontrast.cli.weights import add_weights_command
from eocontrast.runtime.errors import UserError, meant, resource_error


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    A user's mistake is one message on stderr and exit code 2, Ctrl-C is 130. The command exits
    quietly with 141 if stdout is closed early, for example by `head`.
    """
    arguments = _parser().parse_args(_model_first(sys.argv[1:] if argv is None else argv))
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()  # here, not at the exit of Python, which would complain
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        return 141  # 128 + SIGPIPE, as programs in C exit
    except UserError as error:
        # exit with 2, as argparse does for a wrong argument
        print(f"eocontrast {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"eocontrast {arguments.command}: stopped; nothing is left half", file=sys.stderr)
        # add SIGINT (2) to 128, as shells do
        return 130
    except Exception as error:
        lacking = resource_error(error)
        if lacking is None:
            raise
        print(f"eocontrast {arguments.command}: {lacking}", file=sys.stderr)
        return 2
    return code


def _model_first(words: Sequence[str]) -> Sequence[str]:
    """Move a model before the options, since `--fill-bands B10 MODEL` would take it for a band."""
    models = [word for word in words[1:] if word.endswith(".safetensors")]
    if words[:1] not in (["predict"], ["embed"]) or len(models) != 1:
        return words
    return [words[0], *models, *(word for word in words[1:] if word != models[0])]


def _reader_has_gone() -> bool:
    """Return whether the reader of stdout has closed it."""
    try:
        print(flush=True)
    except BrokenPipeError:
        # or Python would complain when it flushes stdout at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


class _Parser(argparse.ArgumentParser):
    """A parser, also of subcommands, that suggests a command or an option for one it lacks."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse
        """Parse arguments; a subcommand refuses unknown ones, and prints its own usage."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with the usage, the message, and the closest matches of its first unknown word."""
        words = re.match(r"(?:unrecognized arguments:|.*invalid choice:) '?([^\s']+)", message)
        known = list(self._option_string_actions)
        known += [str(choice) for action in self._actions for choice in action.choices or ()]
        hint = meant(words[1].split("=")[0], known) if words else ""
        super().error(message + hint)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("eocontrast", description="Commands to run outside the DVC pipeline.")
    return _with_commands(parser)


# a function of its own, because commands are added to the subcommands of argparse's own type
def _with_commands(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--version", action="version", version=f"eocontrast {version('eocontrast')}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    add_import_command(commands)
    add_weights_command(commands)
    add_audit_command(commands)
    add_params_command(commands)
    add_plan_command(commands)
    add_scene_commands(commands)
    add_start_command(commands)
    add_map_command(commands)
    return parser
