from typing import Any

import pytest

from eocontrast.tracking.card_scores import SCORES, with_scores

ROW: dict[str, Any] = {
    "arm": "dual_simclr",
    "task": "classification",
    "metric": "AA",
    "fraction": 0.1,
    "labels": 86,
    "value": 0.63512,
    "low": 0.6,
    "high": 0.66666,
}


@pytest.mark.parametrize("follows", ["", "\n## Licence\n\nFree.\n"])
def test_scores_are_appended_once_and_replaced(follows: str) -> None:
    card = f"# Title\n\nText.\n{follows}"
    once = with_scores(card, [ROW])
    assert "| arm | task | metric | fraction | labels | value | 95 % interval |" in once
    row = "| dual_simclr | classification | AA | 0.1 | 86 | 0.635 | 0.600 to 0.667 |"
    assert row in once
    again = with_scores(once, [{**ROW, "value": 0.7}])
    assert again.count(SCORES) == 1
    assert row not in again
    assert "| 0.700 |" in again
    assert with_scores(again, [ROW]) == once
    assert with_scores(once, []) == card


def test_what_follows_the_scores_is_kept() -> None:
    card = with_scores("# Title\n", [ROW]) + "\n## Notes\n\nMine.\n"
    again = with_scores(card, [{**ROW, "value": 0.7}])
    assert again.endswith("## Notes\n\nMine.\n")
    assert again.index(SCORES) < again.index("| 0.700 |") < again.index("## Notes")
