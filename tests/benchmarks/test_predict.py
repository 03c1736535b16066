import re
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "predict.py"


def test_both_rates_and_their_ratio_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    # in this process: another one would wait for its imports longer than it measures
    runpy.run_path(str(SCRIPT))["main"](["--size", "96", "--tile", "64", "--rounds", "1"])
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert title == "96 x 96 pixels in tiles of 64"
    rates = {line[:12].strip(): float(line.split()[-2]) for line in lines[:2]}
    assert list(rates) == ["bare model", "predict"]
    assert all(rate > 0 for rate in rates.values())
    kept = re.fullmatch(r"predict keeps (\d\.\d\d) of the bare model's speed", lines[2])
    assert kept
    assert abs(float(kept[1]) - rates["predict"] / rates["bare model"]) < 0.02
    # tiles begin at 0 and 60, so 64 + 36 pixels a side are seen
    assert lines[3] == f"tiles alone would leave {(96 / 100) ** 2:.2f}"
