from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from eocontrast.curve.confusion import draw_confusion

CONFUSION = pd.DataFrame(
    {
        "actual": ["Forest", "Forest", "Water", "Forest|Water"],
        "predicted": ["Forest", "Water", "Water", "none"],
        "count": [3, 1, 2, 5],
    }
)


def test_each_actual_class_is_a_row_of_shares(drawn: list[Figure], tmp_path: Path) -> None:
    draw_confusion(CONFUSION, ["Water", "Forest"], tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert rows == ["Water", "Forest", "Forest|Water"]  # in the order of the classes
    assert columns == ["Water", "Forest", "none"]
    written = {
        (rows[round(text.get_position()[1])], columns[round(text.get_position()[0])]): text
        for text in axes.texts
    }
    assert {place: text.get_text() for place, text in written.items()} == {
        ("Forest", "Forest"): "0.75",
        ("Forest", "Water"): "0.25",
        ("Water", "Water"): "1.00",
        ("Forest|Water", "none"): "1.00",
    }
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_class_that_is_not_tested_is_an_empty_row(drawn: list[Figure], tmp_path: Path) -> None:
    draw_confusion(CONFUSION[:3], ["Forest", "Water", "Ice"], tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Forest", "Water", "Ice"]
    assert len(axes.texts) == 3
