"""Points of arms that are scored together, where one arm has more seeds."""

from pathlib import Path
from typing import Any

from eocontrast.evaluation import grid
from eocontrast.evaluation.grid import ScoredArms


def files(arm: str, *seeds: int) -> list[Path]:
    return [Path(arm, f"0.1-{seed}.safetensors") for seed in seeds]


def test_points_of_two_arms_pair_by_name() -> None:
    one, two = files("one", 0, 1, 2), files("two", 1, 0)
    assert grid._together([one, two]) == [
        (one[0], two[1]),
        (one[1], two[0]),
        (one[2],),
    ]
    assert grid._together([one]) == [(file,) for file in one]


def test_every_point_reaches_its_arm() -> None:
    one, two = files("one", 0, 1), files("two", 0)
    points: Any = [[["one 0"], ["two 0"], ["both 0"]], [["one 1"]]]
    scored = ScoredArms(("one", "two", "both"), [(one[0], two[0]), (one[1],)], points, {}, [])
    expected: dict[str, Any] = {
        "one": [["one 0"], ["one 1"]],
        "two": [["two 0"]],
        "both": [["both 0"]],
    }
    assert {name: scored.of(name) for name in expected} == expected
    found: list[Any] = list(scored.models())
    assert found == [
        ("one", one[0], ["one 0"]),
        ("two", two[0], ["two 0"]),
        ("one", one[1], ["one 1"]),
    ]
