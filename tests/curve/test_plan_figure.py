from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from eocontrast.curve.plan import HORIZON, TaskPlan, plan
from eocontrast.curve.plan_figure import draw_plan


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> list[TaskPlan]:
    lines = [
        f"{task},{arm},{init},{n},{seed},F1,{top - n**-0.5 + 0.01 * seed:.4f}"
        for task, arm, init, top in (
            ("crops", "base", "random", 0.7),
            ("crops", "quick", "mma", 0.8),
            ("trees", "low", "mma", 0.5),
        )
        for n in (10, 50, 200, 800)
        for seed in range(2)
    ]
    path = tmp_path_factory.mktemp("curve") / "mine.csv"
    path.write_text("\n".join(["task,arm,init,n_labels,seed,metric,value", *lines]))
    return plan(path, 0.65)


def test_panel_per_arm(tmp_path: Path, plans: list[TaskPlan], drawn: list[Figure]) -> None:
    draw_plan(plans, tmp_path / "a.png")
    panels = [axes for axes in drawn[0].axes if axes.axison]
    assert len(panels) == 3
    for axes, arm in zip(panels, [arm for made in plans for arm in made.arms], strict=True):
        assert axes.get_title().startswith(arm.runs.name)
        inside, beyond, points, target, *needed = axes.lines
        assert (inside.get_linestyle(), beyond.get_linestyle()) == ("-", "--")
        assert np.max(inside.get_xdata()) == pytest.approx(800)
        assert np.min(beyond.get_xdata()) == pytest.approx(800)
        assert np.max(beyond.get_xdata()) == pytest.approx(800 * HORIZON)
        assert np.asarray(points.get_ydata()).tolist() == arm.runs.scores.tolist()
        assert np.asarray(target.get_ydata()).tolist() == [0.65, 0.65]
        marks = [np.asarray(line.get_xdata()).tolist() for line in needed]
        low, high = (
            min(end, 800 * HORIZON) for end in (arm.labels_needed.low, arm.labels_needed.high)
        )
        bar = [[low, high]] if low < high else []
        known = arm.reach in ("measured", "extrapolated")
        assert marks == bar + ([[arm.labels_needed.value]] if known else [])
        assert axes.get_xscale() == "log"
    reached = {arm.runs.name: arm.reach for made in plans for arm in made.arms}
    assert reached["quick"] == "measured"
    assert reached["low"] == "not reachable"


def test_titles_fit_and_name_colours(
    tmp_path: Path, plans: list[TaskPlan], drawn: list[Figure]
) -> None:
    """A table without labels alone has one colour."""
    draw_plan(plans, tmp_path / "both.png")
    draw_plan(plans[1:], tmp_path / "one.png")
    for figure in drawn:
        renderer, width = figure.canvas.get_renderer(), figure.bbox.width  # type: ignore[attr-defined]
        for block in figure.subfigs:
            (title,) = (text for text in block.texts if "extrapolated" in text.get_text())
            extent = title.get_window_extent(renderer)
            assert extent.x0 >= 0
            assert extent.x1 <= width
            assert ("labels alone" in title.get_text()) == ("crops" in title.get_text())


def test_equal_plans_equal_bytes(tmp_path: Path, plans: list[TaskPlan]) -> None:
    for name in ("one", "two"):
        draw_plan(plans, tmp_path / f"{name}.png")
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2
    assert plt.get_fignums() == []
