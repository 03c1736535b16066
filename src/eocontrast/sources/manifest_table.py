"""Read the user's table of pairs and check what needs no raster: ids, groups, splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from eocontrast.rasters.source import COLUMNS, SPLITS
from eocontrast.runtime.errors import UserError

REQUIRED = ("id", "s1", "s2", "label")

_HOW_TO_FILL = (
    "write one row a patch: id (a name), s1 and s2 (a raster each, of the same size; `{band}` in a "
    "path stands for one file a band), label (a class name, a mask raster, or nothing), group (a "
    "name for what must not be split between train and test, such as a scene), split "
    f"({', '.join(SPLITS)}, or nothing); paths are relative to this file's folder"
)
# what no file system takes, a dot or a space at either end, and names too long for a suffix
_NO_FILE_NAME = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]|^[. ]|[. ]$|^.{200}')


@contextmanager
def located(path: Path, row: Hashable, name: str, column: str) -> Iterator[None]:
    """Put manifest, row, id and column before the message of a `UserError` raised within."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}, row {row}, id {name!r}, column {column}: {error}") from error


def read_table(path: Path) -> pd.DataFrame:
    """All columns as text, empty where nothing is given; a patch without a group becomes its own.

    The index counts rows as a spreadsheet does, the header being row 1.

    Raises:
        UserError: the file is missing, no table, without rows or without a column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such manifest; sources.manifest.path in params.yaml names it")
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    missing = [column for column in REQUIRED if column not in table]
    if missing:
        raise UserError(
            f"{path} lacks the column {', '.join(missing)}: expected {','.join(COLUMNS)}, found "
            f"{','.join(map(str, table.columns))}"
        )
    if table.empty:
        raise UserError(f"{path} has no rows: {_HOW_TO_FILL}")
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    return table.assign(group=table.group.where(table.group != "", table.id))


def check_table(path: Path, table: pd.DataFrame) -> None:
    """Ids are distinct and can name files; splits are known and no group has several.

    Raises:
        UserError: names the first row that breaks this.
    """
    first: dict[str, Hashable] = {}
    groups: dict[str, tuple[Hashable, str]] = {}
    for row, name, group, split in zip(
        table.index, table.id, table.group, table.split, strict=True
    ):
        with located(path, row, name, "id"):
            _check_id(name)
            # two names that differ in case only are one file on some disks
            if first.setdefault(name.casefold(), row) != row:
                raise UserError(f"row {first[name.casefold()]} has this id already")
        with located(path, row, name, "split"):
            if split not in (*SPLITS, ""):
                raise UserError(f"{split!r}, expected {', '.join(SPLITS)} or nothing")
            other, found = groups.setdefault(group, (row, split))
            if found != split and not {found, split} <= {"pretrain", "train"}:
                raise UserError(
                    f"{split or 'nothing'}, but row {other} of the same group {group!r} has "
                    f"{found or 'nothing'}; a group is learnt from or scored, never both"
                )


def _check_id(name: str) -> None:
    if not name:
        raise UserError("empty, expected a name of the patch")
    odd = _NO_FILE_NAME.search(name)
    if odd:
        raise UserError(f"{odd.group()[:20]!r} cannot be there in a file's name")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        # Excel begins its UTF-8 files with a byte-order mark
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8: {error}; save it so") from error
    header, *rows = lines or [[]]
    filled = {number: cells for number, cells in enumerate(rows, start=2) if any(cells)}
    for number, cells in filled.items():
        if len(cells) != len(header):
            raise UserError(
                f"{path}, row {number}: {len(cells)} cells, the header has {len(header)}"
            )
    if len(set(header)) != len(header):
        raise UserError(f"{path} names a column twice: {','.join(header)}")
    return pd.DataFrame(list(filled.values()), columns=header, index=list(filled), dtype=str)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again") from error
    text = {
        name: ["" if pd.isna(x) else str(x) for x in table[name]]
        for name in COLUMNS
        if name in table
    }
    return pd.DataFrame(text, index=range(2, len(table) + 2))
