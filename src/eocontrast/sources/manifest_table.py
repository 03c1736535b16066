"""Reading of the user's manifest, with the checks that need no raster: ids, groups, splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from eocontrast.labels import SEPARATOR
from eocontrast.rasters.source import COLUMNS, SPLITS
from eocontrast.runtime.errors import UserError

REQUIRED = ("id", "s1", "s2", "label")

_HOW_TO_FILL = (
    "write one row per patch: id (a name), s1 and s2 (rasters of the same size; `{band}` in a path "
    "stands for a file per band), label (a class name, a mask raster, or nothing), group (a "
    "name for what must not be split between train and test, such as a scene), split "
    f"({', '.join(SPLITS)}, or nothing); paths are relative to this file's folder"
)
# characters that some file systems refuse, dots and spaces at the ends, and overlong names
_NO_FILE_NAME = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^[. ]|[. ]$|^.{200}')


@contextmanager
def located(path: Path, row: Hashable, name: str, column: str) -> Iterator[None]:
    """Prefix a `UserError` raised within with manifest, row, id and column."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}, row {row}, id {name!r}, column {column}: {error}") from error


def read_table(path: Path) -> pd.DataFrame:
    """Read all columns as text, with the patch's id as the default group.

    The index counts rows as spreadsheets do: the header is row 1.

    Raises:
        UserError: the file is missing, is not a table, or has no rows or a missing column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; set sources.manifest.path in params.yaml")
    with path.open("rb") as file:
        # by its first bytes: Parquet files of any name are taken
        start = file.read(4)
    if start in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise UserError(f"{path} is a spreadsheet or an archive; save its table as CSV in UTF-8")
    parquet = start == b"PAR1"
    table = _read_parquet(path) if parquet or path.suffix == ".parquet" else _read_csv(path)
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(missing)}: expected {','.join(COLUMNS)}, found "
            f"{','.join(map(str, table.columns))}{_separator(table.columns)}"
        )
    if table.empty:
        raise UserError(f"{path} has no rows: {_HOW_TO_FILL}")
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    return table.assign(group=table.group.where(table.group != "", table.id))


def _separator(columns: Iterable[str]) -> str:
    """Return what to do about cells that something other than commas separates."""
    header = " ".join(columns)
    found = [word for sign, word in ((";", "semicolons"), ("\t", "tabs")) if sign in header]
    return f"; cells are separated by {found[0]}, expected commas" if found else ""


def check_table(path: Path, table: pd.DataFrame) -> None:
    """Check that ids are distinct file names, and that each group has one known split.

    Raises:
        UserError: names the first row with a mistake.
    """
    first: dict[str, Hashable] = {}
    groups: dict[str, tuple[Hashable, str]] = {}
    for row, name, group, split in zip(
        table.index, table.id, table.group, table.split, strict=True
    ):
        with located(path, row, name, "id"):
            _check_id(name)
            # some disks do not distinguish upper and lower case
            if first.setdefault(name.casefold(), row) != row:
                raise UserError(f"row {first[name.casefold()]} has this id already")
        with located(path, row, name, "group"):
            # "A" and "A " are one scene to their author, and may be on both sides of a split
            if group != group.strip():
                raise UserError(f"{group!r} begins or ends with a space; remove it")
        with located(path, row, name, "split"):
            if split not in (*SPLITS, ""):
                raise UserError(f"{split!r}, expected {', '.join(SPLITS)} or nothing")
            first_row, other = groups.setdefault(group, (row, split))
            if other != split and not {other, split} <= {"pretrain", "train"}:
                raise UserError(
                    f"{split or 'nothing'}, but row {first_row} of the same group {group!r} has "
                    f"{other or 'nothing'}; a group is trained on or tested on, never both"
                )


def _check_id(name: str) -> None:
    if not name:
        raise UserError("empty, expected a name for the patch")
    match = _NO_FILE_NAME.search(name)
    if match:
        raise UserError(f"{match.group()[:20]!r} is not allowed, because ids become file names")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Excel writes a byte-order mark at the start of UTF-8 files
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as CSV in UTF-8: {error}; save it in that format"
        ) from error
    header, *rows = lines or [[]]
    # spreadsheets leave rows of commas behind
    nonempty = {number: cells for number, cells in enumerate(rows, start=2) if any(cells)}
    for number, cells in nonempty.items():
        if len(cells) != len(header):
            raise UserError(
                f"{path}, row {number}: {len(cells)} cells, the header has {len(header)}"
            )
    if len(set(header)) != len(header):
        raise UserError(f"{path} names a column twice: {','.join(header)}")
    return pd.DataFrame(list(nonempty.values()), columns=header, index=list(nonempty), dtype=str)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again") from error
    rows = range(2, len(table) + 2)
    if table.index.name in COLUMNS:  # pandas keeps the index of a frame as a column of its own
        table = table.reset_index()
    text: dict[str, list[str]] = {}
    for column in (name for name in COLUMNS if name in table):
        cells = zip(rows, table[column], strict=True)
        text[column] = [_text(path, row, column, cell) for row, cell in cells]
    return pd.DataFrame(text, index=rows)


def _text(path: Path, row: int, column: str, cell: object) -> str:
    """Return a cell of Parquet as the text that a CSV file would hold.

    Raises:
        UserError: it is a list of other things than names, or a structure.
    """
    if isinstance(cell, np.ndarray | list | tuple):
        names = list(cell)
        if column == "label" and all(isinstance(name, str) for name in names):
            return SEPARATOR.join(names)
        shown = ", ".join(map(str, names[:4]))
        raise UserError(
            f"{path}, row {row}, column {column}: a list of {shown}, expected text"
            + (" or a list of class names; replace 0 and 1 by them" if column == "label" else "")
        )
    if isinstance(cell, dict):
        raise UserError(f"{path}, row {row}, column {column}: a structure, expected text")
    if cell is None or pd.isna(cell):  # type: ignore[call-overload]
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))  # pandas turns whole numbers beside a gap into floats
    return str(cell)
