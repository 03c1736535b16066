from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from eocontrast.tracking.confusion import draw_confusion

CONFUSION = pd.DataFrame(
    {
        "actual": ["Forest", "Forest", "Water", "Forest|Water"],
        "predicted": ["Forest", "Water", "Water", "none"],
        "count": [3, 1, 2, 5],
    }
)


def test_confusion_rows_are_shares(drawn: list[Figure], tmp_path: Path) -> None:
    draw_confusion(CONFUSION, ["Water", "Forest", "Ice"], tmp_path / "confusion.png")
    (axes,) = drawn[0].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["Water", "Forest", "Ice", "Forest|Water", "none"]
    shares = {
        (names[round(text.get_position()[1])], names[round(text.get_position()[0])]): shown
        for text in axes.texts
        if (shown := text.get_text()) != "0.00"
    }
    assert shares == {
        ("Forest", "Forest"): "0.75",
        ("Forest", "Water"): "0.25",
        ("Water", "Water"): "1.00",
        ("Forest|Water", "none"): "1.00",
    }
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
