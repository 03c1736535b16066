from collections.abc import Callable
from pathlib import Path

import pytest

from eocontrast.curve.plan_table import METRICS, read_runs
from eocontrast.models.tasks import TASKS
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


def test_a_curve_of_ones_own_is_read(write: Write) -> None:
    ((key, runs),) = read_runs(write(HEADER, *ROWS)).items()
    assert key == ("crops", "mine")
    assert [(run.n_labels, run.seed, run.value) for run in runs[:2]] == [
        (10, "0", 0.1),
        (10, "1", 0.101),
    ]
    assert {(run.metric, run.init, run.inputs) for run in runs} == {("F1", "", "")}


def test_columns_may_stand_in_any_order_among_others(write: Write) -> None:
    lines = [f"{n},x,crops,F1,mine,0,.5,more" for n in (10, 20, 40)]
    (runs,) = read_runs(write("n_labels,init,task,metric,arm,seed,value,note", *lines)).values()
    assert [(run.n_labels, run.init, run.value) for run in runs] == [
        (10, "x", 0.5),
        (20, "x", 0.5),
        (40, "x", 0.5),
    ]


def test_empty_lines_and_a_spreadsheets_byte_order_mark_are_nothing(write: Write) -> None:
    path = write(HEADER, "", *ROWS, "", encoding="utf-8-sig")
    assert len(read_runs(path)[("crops", "mine")]) == 6


def test_this_projects_tasks_have_the_metrics_they_are_compared_by() -> None:
    assert {name: task.metric for name, task in TASKS.items()} == METRICS


def test_of_this_projects_curve_the_tasks_metric_and_all_sensors_count(write: Write) -> None:
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
    path = write("task,arm,init,inputs,n_labels,seed,metric,value", *lines, *alone)
    arms = read_runs(path)
    assert [run.value for run in arms["single_label", "late"]] == [0.5] * 3
    assert [run.value for run in arms["single_label", "only"]] == [0.3] * 3


def test_n_labels_that_differ_between_seeds_are_distinct(write: Write) -> None:
    lines = [f"crops,mine,{n},{seed},F1,.5" for seed, n in enumerate((10, 11, 12))]
    assert len(read_runs(write(HEADER, *lines))["crops", "mine"]) == 3


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
        ("crops,mine,-5,0,F1,.5", r"line 2, column n_labels: -5 labels; expected more than none"),
        ("crops,mine,0,0,F1,.5", r"line 2, column n_labels: 0 labels"),
        ("crops,mine,10,0,F1,57", r"line 2, column value: 57 is no score .* divide percents"),
        ("crops,mine,10,0,F1,-.1", r"line 2, column value: -.1 is no score"),
        ("crops,mine,10,,F1,.5", r"line 2, column seed: is empty"),
        ("crops,,10,0,F1,.5", r"line 2, column arm: is empty"),
        ("crops,mine,10,0,F1", r"line 2: more or fewer fields than the header's 6"),
        ("crops,mine,10,0,F1,.5,1", r"line 2: more or fewer fields"),
        ("crops,mine,20,0,F1,.5", r"line 4, column seed: mine has seed 0 at 20 .* line 2"),
        ("crops,mine,10,7,OA,.5", r"line 3, column metric: F1 is another metric of task 'crops'"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(write: Write, row: str, says: str) -> None:
    rest = [line for line in ROWS if not line.startswith("crops,mine,10,0")]
    with pytest.raises(UserError, match=rf"mine\.csv, {says}") as caught:
        read_runs(write(HEADER, row, *rest))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(write: Write, column: str) -> None:
    header = HEADER.replace(column, "else")
    with pytest.raises(UserError, match=rf"mine\.csv, line 1: no column {column} among .*else"):
        read_runs(write(header, *ROWS))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([HEADER], "no row below its header"),
        ([], "line 1: no column task"),
        ([HEADER, *ROWS[:4]], r"column n_labels: mine \(crops\) has 10, 20 alone; expected 3"),
        ([HEADER, '"crops,mine'], "cannot be read"),
    ],
)
def test_what_is_no_curve_is_refused(write: Write, lines: list[str], says: str) -> None:
    with pytest.raises(UserError, match=rf"mine\.csv.*{says}"):
        read_runs(write(*lines))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.csv cannot be read"):
        read_runs(tmp_path / "gone.csv")
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(UserError, match=r"sheet\.csv cannot be read .*UTF-8"):
        read_runs(tmp_path / "sheet.csv")
