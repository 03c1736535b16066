from collections.abc import Callable
from pathlib import Path

import pytest

from eocontrast.curve.plan_arms import ArmRuns, read_arms
from eocontrast.runtime.errors import UserError

HEADER = "task,arm,n_labels,seed,metric,value"
ROWS = [f"crops,mine,{n},{seed},F1,0.{n}{seed}" for n in (10, 20, 40) for seed in (0, 1)]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(*lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "mine.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return written


def read(path: Path) -> dict[tuple[str, str], ArmRuns]:
    """Read arms by task and name."""
    return {(task, a.name): a for task, arms in read_arms(path, 5).items() for a in arms}


def test_own_csv_is_read(write: Write) -> None:
    ((key, runs),) = read(write(HEADER, *ROWS)).items()
    assert key == ("crops", "mine")
    assert runs.n_labels.tolist() == [10, 10, 20, 20, 40, 40]
    assert runs.scores[:2].tolist() == [0.1, 0.101]
    assert (runs.metric, runs.supervised) == ("F1", False)


def test_columns_in_any_order(write: Write) -> None:
    lines = [f"{n},random,crops,F1,mine,0,.5,more" for n in (10, 20, 40)]
    (runs,) = read(write("n_labels,init,task,metric,arm,seed,value,note", *lines)).values()
    assert (runs.n_labels.tolist(), runs.supervised) == ([10, 20, 40], True)


def test_empty_lines_and_byte_order_mark(write: Write) -> None:
    path = write(HEADER, "", *ROWS, "", encoding="utf-8-sig")
    assert len(read(path)["crops", "mine"].scores) == 6


def test_metric_and_sensors_of_task(write: Write) -> None:
    """This project's curve has several metrics, and scores with one sensor missing."""
    lines = [
        f"single_label,late,i,{inputs},{n},0,{metric},{value}"
        for n in (10, 20, 40)
        for inputs, metric, value in (
            ("s1", "AA", 0.1),
            ("s1+s2", "OA", 0.9),
            ("s1+s2", "ECE", ""),
            ("s1+s2", "AA", 0.5),
        )
    ]
    alone = [f"single_label,only,i,s1,{n},0,AA,0.3" for n in (10, 20, 40)]
    arms = read(write("task,arm,init,inputs,n_labels,seed,metric,value", *lines, *alone))
    assert arms["single_label", "late"].scores.tolist() == [0.5] * 3
    assert arms["single_label", "only"].scores.tolist() == [0.3] * 3


def test_n_labels_distinct_by_seed(write: Write) -> None:
    lines = [f"crops,mine,{n},{seed},F1,.5" for seed, n in enumerate((10, 11, 12))]
    assert len(read(write(HEADER, *lines))["crops", "mine"].scores) == 3


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("crops,mine,many,0,F1,.5", r"line 2, column n_labels: 'many' is no number"),
        ("crops,mine,,0,F1,.5", r"line 2, column n_labels: '' is no number"),
        ("crops,mine,10,0,F1,high", r"line 2, column value: 'high' is no number"),
        ("crops,mine,10,0,F1,", r"line 2, column value: '' is no number"),
        ("crops,mine,10,0,F1,nan", r"line 2, column value: 'nan' is no number"),
        ("crops,mine,10,0,F1,inf", r"line 2, column value: 'inf' is no number"),
        ("crops,mine,nan,0,F1,.5", r"line 2, column n_labels: 'nan'"),
        ("crops,mine,-5,0,F1,.5", r"line 2, column n_labels: '-5' is no number of labels"),
        ("crops,mine,0,0,F1,.5", r"line 2, column n_labels: '0' is no number of labels"),
        ("crops,mine,10,0,F1,57", r"line 2, column value: '57' is no score .* divide percents"),
        ("crops,mine,10,0,F1,-.1", r"line 2, column value: '-.1' is no score"),
        ("crops,mine,10,,F1,.5", r"line 2, column seed: '' is empty"),
        ("crops,,10,0,F1,.5", r"line 2, column arm: '' is empty"),
        ("crops,mine,10,0,F1", r"line 2: more or fewer fields than the header's 6"),
        ("crops,mine,10,0,F1,.5,1", r"line 2: more or fewer fields"),
        ("crops,mine,20,0,F1,.5", r"line 4, column seed: '0' has a row already in line 2"),
        ("crops,mine,10,7,OA,.5", r"line 3, column metric: F1 is another metric of task 'crops'"),
    ],
)
def test_bad_row_is_named(write: Write, row: str, says: str) -> None:
    rest = [line for line in ROWS if not line.startswith("crops,mine,10,0")]
    with pytest.raises(UserError, match=rf"mine\.csv, {says}") as caught:
        read(write(HEADER, row, *rest))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_missing_column_is_named(write: Write, column: str) -> None:
    header = HEADER.replace(column, "else")
    with pytest.raises(UserError, match=rf"mine\.csv, line 1: no column {column} among .*else"):
        read(write(header, *ROWS))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([HEADER], "no row below its header"),
        ([], "line 1: no column task"),
        ([HEADER, *ROWS[:4]], r"column n_labels: mine \(crops\) has 10, 20 alone; expected 3"),
        ([HEADER, '"crops,mine'], "cannot be read"),
    ],
)
def test_short_tables_are_refused(write: Write, lines: list[str], says: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.csv.*{says}"):
        read(write(*lines))


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match=r"empty\.csv, line 1: no column task"):
        read(tmp_path / "empty.csv")
    with pytest.raises(UserError, match=r"gone\.csv cannot be read"):
        read(tmp_path / "gone.csv")
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match=r"sheet\.csv cannot be read .*UTF-8"):
        read(tmp_path / "sheet.csv")
