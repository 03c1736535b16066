from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eocontrast.bootstrap import Interval
from eocontrast.figures import draw_label_curve
from eocontrast.label_curve import ArmCurve, ArmResult


def curve(name: str, values: list[float], supervised: bool) -> ArmCurve:
    nothing = pd.DataFrame()
    result = ArmResult(name, "t", "i", "s1", supervised, ("a",), nothing, nothing, {})
    intervals = tuple(Interval(value, value - 0.05, value + 0.05) for value in values)
    n_labels = np.array([10.0, 100.0, 1000.0])[: len(values)]
    return ArmCurve(result, (0.01, 0.1, 1.0)[: len(values)], n_labels, intervals, np.zeros((3, 1)))


def curves() -> dict[str, ArmCurve]:
    late, dual = curve("late", [0.3, 0.5, 0.6], True), curve("dual", [0.5, 0.7, 0.7], False)
    return {"late": late, "dual": dual}


def test_the_same_curves_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_label_curve(curves(), tmp_path / f"{name}.png")
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"\x89PNG")
    other = curves()
    other["dual"] = curve("dual", [0.5, 0.7, 0.8], False)
    draw_label_curve(other, tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != one


@pytest.mark.parametrize("left", ["late", "dual"])
def test_one_arm_or_no_baseline_can_be_drawn(tmp_path: Path, left: str) -> None:
    draw_label_curve({left: curves()[left]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_an_arm_with_one_point_and_eleven_arms_can_be_drawn(tmp_path: Path) -> None:
    many = {f"arm{k}": curve(f"arm{k}", [0.5, 0.6, 0.7], k % 2 == 0) for k in range(10)}
    draw_label_curve({**many, "short": curve("short", [0.4], False)}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
