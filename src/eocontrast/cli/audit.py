"""`eocontrast audit`: findings on pairs of rasters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import refuse_existing

if TYPE_CHECKING:  # `--help` answers at once
    from eocontrast.rasters.source import Source


def add_audit_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `audit` to the subcommands."""
    parser = commands.add_parser(
        "audit",
        help="list the findings on pairs of rasters",
        description="List the findings on pairs of rasters; the exit code is 1 if one is unusable.",
    )
    parser.set_defaults(run=audit)
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE",
        help="data/manifests/<source>, or a table of pairs that sources.manifest in params.yaml "
        "declares")  # fmt: skip
    add("-o", "--out", type=Path, metavar="OUT.json", help="all findings, one by one")
    add("--overwrite", action="store_true", help="replace an existing OUT")
    add("--no-shift", action="store_true", help="do not look for a shift of S1 against S2")


def audit(arguments: argparse.Namespace) -> int:
    """Print the audit of a source's pairs and return 1 if some cannot be used.

    Raises:
        UserError: there is no source, its table is wrong, or the output is there already.
    """
    from eocontrast.normalisation.audit import has_error
    from eocontrast.normalisation.audit_report import audit_table, write_audit
    from eocontrast.normalisation.build import audit_source
    from eocontrast.normalisation.dataset import split_gaps, split_report, split_table

    out: Path | None = arguments.out
    if out:
        refuse_existing(out, arguments.overwrite)
    source = _with_splits(_source(arguments.source))
    findings, kept = audit_source(source, check_shift=not arguments.no_shift)
    if out:
        searched = 0 if arguments.no_shift else len(source.manifest)
        write_audit(out, findings, len(source.manifest), searched)
    # sources without labels, such as those to pretrain on, have no classes to miss
    gaps: list[str] = []
    if any(patch.facts["label"] >= 0 for patch in kept):
        print(split_report(kept, [*source.classes]))
        gaps = split_gaps(split_table(kept, [*source.classes]))[0]
    print(audit_table(findings, len(source.manifest), gaps))
    return int(has_error(findings) or bool(gaps))


def _with_splits(source: Source) -> Source:
    """Return the source with the splits that `normalise` would draw."""
    from dataclasses import replace

    from eocontrast.config.params import load_params
    from eocontrast.normalisation.splits import split_by_group

    manifest = source.manifest
    if (manifest["split"] != "").all() or not Path("params.yaml").exists():
        return source
    params = load_params().normalise
    labelled = manifest.assign(labelled=manifest["label"] != "")
    split = split_by_group(labelled, params.test_fraction, params.seed)
    return replace(source, manifest=manifest.assign(split=split))


def _source(place: Path) -> Source:
    """Read the source that `download` wrote, or a table of pairs that params.yaml declares."""
    from dataclasses import replace

    from eocontrast.config.params import load_params
    from eocontrast.rasters.source import read_source
    from eocontrast.sources.manifest import describe

    if place.is_dir() or (place.parent / "source.json").exists():
        return read_source(place if place.is_dir() else place.parent)
    if not place.exists():
        raise UserError(
            f"{place}: no such file or folder; expected data/manifests/<source>, which `dvc repro "
            "download` fills, or a table of pairs"
        )
    params = load_params().sources.manifest.model_copy(update={"path": place})
    return replace(describe(params), rasters=place.parent)
