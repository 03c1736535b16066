"""The command `eocontrast weights`: the catalogue of published weights, and their download."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from eocontrast.cli.params import entries_text
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:  # the list is read without torch
    from eocontrast.published.catalogue import Entry

_WEIGHTS = """\
Without a subcommand: list the published weights that eocontrast knows by name, with the licence of
each. docs/weights.md says how to choose.

`fetch` downloads weights, verifies their sha256, converts them without running code, and prints the
entries of params.yaml that name them. Files lie in models/published. A download that was cut is
resumed. HF_ENDPOINT names a mirror of the Hugging Face Hub.

  eocontrast weights fetch rn50_s1_moco rn50_s2_moco
"""


def add_weights_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `weights`."""
    parser = commands.add_parser(
        "weights",
        help="list or fetch published weights",
        description=_WEIGHTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=weights)
    actions = parser.add_subparsers(dest="action", metavar="fetch")
    fetch = actions.add_parser("fetch", help="download, verify and convert weights")
    fetch.set_defaults(run=fetch_weights)
    add = fetch.add_argument
    add("names", nargs="+", metavar="NAME", help="as `eocontrast weights` lists them")
    digest = fetch.add_mutually_exclusive_group()
    digest.add_argument("--sha256", default="", metavar="HEX",
                        help="expected digest of one file whose publisher gives none")  # fmt: skip
    digest.add_argument("--unverified", action="store_true",
                        help="take what the server sends if no digest is known")  # fmt: skip


def weights(arguments: argparse.Namespace) -> int:
    """Print the catalogue."""
    from eocontrast.published.catalogue import UNKNOWN, catalogue
    from eocontrast.published.foundation import FOUNDATION

    rows = [("name", "sensor", "architecture", "method", "data", "licence", "MB", "sha256")]
    for name, each in catalogue().items():
        size = f"{4 * each.millions:.0f}"  # float32
        digest = "hash unknown" if each.sha256 == UNKNOWN else f"{each.sha256}..."
        rows.append(
            (name, each.sensor, each.model, each.method, each.data, each.licence, size, digest)
        )
    print(_table(rows))
    print("\nRefused by name, with the package that has the class:\n")
    print(_table([(n, f.package or "-", f.licence, f.reason) for n, f in FOUNDATION.items()]))
    return 0


def fetch_weights(arguments: argparse.Namespace) -> int:
    """Fetch weights by name and print what params.yaml needs.

    Raises:
        UserError: a name is unknown, or a file cannot be fetched, verified or converted.
    """
    from eocontrast.published.catalogue import entry
    from eocontrast.sources.download.weights import fetch_weights as fetched

    entries = [entry(name) for name in arguments.names]
    if arguments.sha256 and len(entries) > 1:
        raise UserError("--sha256 is the digest of one file, but several are named")
    done: list[tuple[Entry, str]] = []
    for each in entries:
        made = fetched(each, arguments.sha256, unverified=arguments.unverified)
        done.append((each, made.run["sha256"]))
    print(published_entries(done), end="")
    return 0


def published_entries(done: Sequence[tuple[Entry, str]]) -> str:
    """Return the lines to paste into params.yaml: one run of both sensors, or one a file.

    Args:
        done: Entries of the catalogue with the whole SHA-256 of their files.
    """
    if sorted(each.sensor for each, _ in done) == ["s1", "s2"]:
        # rn50_s1_moco and rn50_s2_moco become rn50_moco
        named = {each.name.replace(f"_{each.sensor}_", "_") for each, _ in done}
        groups = {named.pop() if len(named) == 1 else "published": list(done)}
    else:
        groups = {each.name: [(each, sha256)] for each, sha256 in done}
    runs: dict[str, Any] = {
        name: {
            **{each.sensor: each.name for each, _ in group},
            "sha256": {each.name: sha256 for each, sha256 in group},
        }
        for name, group in groups.items()
    }
    return entries_text({"pretrain": {"published": runs}})


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
