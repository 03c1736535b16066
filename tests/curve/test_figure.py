from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from eocontrast.curve.bootstrap import Interval
from eocontrast.curve.figure import draw_label_curve
from eocontrast.curve.headline import Compared
from eocontrast.curve.label_curve import ArmCurve
from eocontrast.evaluation.results import ArmResult
from eocontrast.models.tasks import TASKS, TaskName

COMPARED: dict[str, Compared] = {
    "single_label": ("late", "dual"),
    "segmentation": ("unet", None),
}


def curve(
    name: str,
    values: list[float],
    method: str = "random",
    task: TaskName = "single_label",
    frozen: bool = False,
) -> ArmCurve:
    nothing = pd.DataFrame()
    result = ArmResult(
        name=name,
        task=task,
        metric=TASKS[task].metric,
        exclusive=True,
        init="i",
        method=method,
        head="linear",
        frozen=frozen,
        inputs="s1",
        supervised=method == "random",
        classes=("a",),
        points=nothing,
        by_class=nothing,
        groups=(),
        tallies={},
        left_out={},
        no_interval=(),
        origins={0: 0},
    )
    intervals = tuple(Interval(value, value - 0.05, value + 0.05) for value in values)
    n_labels = np.array([10.0, 100.0, 1000.0])[: len(values)]
    return ArmCurve(result, (0.01, 0.1, 1.0)[: len(values)], n_labels, intervals, np.zeros((3, 1)))


def curves() -> dict[str, ArmCurve]:
    made = [
        curve("late", [0.3, 0.5, 0.6]),
        curve("dual", [0.5, 0.7, 0.7], "dual_simclr"),
        curve("dual_frozen", [0.4, 0.5, 0.5], "dual_simclr", frozen=True),
        curve("unet", [0.2, 0.3, 0.4], task="segmentation"),
    ]
    return {made_curve.result.name: made_curve for made_curve in made}


def test_the_same_curves_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw_label_curve(curves(), COMPARED, tmp_path / f"{name}.png")
    one, two = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "two"))
    assert one == two
    assert one.startswith(b"\x89PNG")
    other = {**curves(), "dual": curve("dual", [0.5, 0.7, 0.8], "dual_simclr")}
    draw_label_curve(other, COMPARED, tmp_path / "other.png")
    assert (tmp_path / "other.png").read_bytes() != one
    assert plt.get_fignums() == []


def test_every_task_has_a_panel_with_its_arms(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_label_curve(curves(), COMPARED, tmp_path / "a.png")
    (figure,) = drawn
    single, segmentation = figure.axes
    assert single.get_title() == "single label"
    assert segmentation.get_title() == "segmentation"
    assert "AA" in single.get_ylabel()
    assert "mIoU" in segmentation.get_ylabel()
    for axes, names in ((single, ["dual", "late", "dual_frozen"]), (segmentation, ["unet"])):
        assert [text for text in axes.get_legend_handles_labels()[1] if text in names] == names
        assert axes.get_xscale() == "log"
    lines = {line.get_label(): line for line in single.lines}
    assert np.asarray(lines["dual"].get_xdata()).tolist() == [10, 100, 1000]
    assert np.asarray(lines["dual"].get_ydata()).tolist() == [0.5, 0.7, 0.7]
    styles = [lines[name].get_linestyle() for name in ("late", "dual", "dual_frozen")]
    assert styles == ["--", "-", ":"]
    colours = [lines[name].get_color() for name in ("late", "dual", "dual_frozen")]
    assert len(set(colours)) == 3


def test_budgets_are_marked_in_polygons(tmp_path: Path, drawn: list[Figure]) -> None:
    made = {
        name: replace(of, n_shapes=np.array([14.2, 131.0, 1200.0])) for name, of in curves().items()
    }
    draw_label_curve({**made, "s1": curve("s1", [0.1])}, COMPARED, tmp_path / "a.png")
    axes = drawn[0].axes[0]
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert ticks == ["10\n(14)", "100\n(131)", "1000\n(1200)"]
    assert axes.get_xlabel() == "labelled patches\n(labelled polygons or points)"


def test_an_arm_keeps_its_look_when_ranks_change(tmp_path: Path, drawn: list[Figure]) -> None:
    made = curves() | {"s1": curve("s1", [0.1, 0.2, 0.3])}
    draw_label_curve(made, COMPARED, tmp_path / "a.png")
    made |= {"s1": curve("s1", [0.7, 0.8, 0.9]), "dual": curve("dual", [0.1] * 3, "dual_simclr")}
    draw_label_curve(made, COMPARED, tmp_path / "b.png")
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
        for figure in drawn
    ]
    assert looks[0].items() >= {name: looks[1][name] for name in made if name != "unet"}.items()
    assert len({looks[0][name] for name in ("s1", "late", "dual", "dual_frozen")}) == 4


def test_two_backbones_of_a_method_have_their_markers(tmp_path: Path, drawn: list[Figure]) -> None:
    made = curves()
    swin = curve("dual_swin", [0.2, 0.3, 0.4], "dual_simclr")
    made["dual_swin"] = replace(swin, result=replace(swin.result, init="other"))
    draw_label_curve(made, COMPARED, tmp_path / "a.png")
    markers = {line.get_label(): line.get_marker() for line in drawn[0].axes[0].lines}
    assert markers["dual"] == markers["dual_frozen"] != markers["dual_swin"]


def test_the_bands_are_those_of_the_best_arms(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_label_curve(curves(), COMPARED, tmp_path / "a.png")
    single, segmentation = drawn[0].axes
    assert len(single.collections) == 2
    assert len(segmentation.collections) == 1
    heights = [np.asarray(band.get_paths()[0].vertices)[:, 1] for band in single.collections]
    tops = sorted(round(float(height.max()), 3) for height in heights)
    assert tops == [0.65, 0.75]


@pytest.mark.parametrize("left", ["late", "dual", "unet"])
def test_one_arm_or_no_baseline_can_be_drawn(
    tmp_path: Path, drawn: list[Figure], left: str
) -> None:
    draw_label_curve({left: curves()[left]}, {}, tmp_path / "a.png")
    assert len(drawn[0].axes) == 1
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_every_method_has_a_colour_and_eleven_arms_can_be_drawn(tmp_path: Path) -> None:
    methods = ("random", "dual_simclr", "simclr", "mma", "imported", "of their own")
    many = {
        f"arm{k}": curve(f"arm{k}", [0.5, 0.6, 0.7], methods[k % 6], frozen=k > 5)
        for k in range(10)
    }
    short = curve("short", [0.4], "simclr")
    draw_label_curve({**many, "short": short}, {"single_label": (None, None)}, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
