from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from eocontrast.curve.figure_labels import LONGEST, figure_labels


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Urban/Built-up", "Urban/Built-up"),
        ("Äcker", "Äcker"),
        ("50 $ & 60 $", r"50 \$ & 60 \$"),
        ("草地", "2: ??"),
        ("x" * 250, f"2: {'x' * (LONGEST - 1)}…"),
    ],
)
def test_label(name: str, label: str) -> None:
    assert figure_labels(["first", name])[1] == label


def test_odd_names_are_drawn_without_warning(tmp_path: Path) -> None:
    figure, axes = plt.subplots(layout="constrained")
    labels = figure_labels(["a $x_1^$", "草地 🌾", "{\\alpha}", "x" * 250])
    axes.bar(range(4), range(4), tick_label=labels)
    figure.savefig(tmp_path / "a.png")
    plt.close(figure)
