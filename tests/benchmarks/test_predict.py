import re
import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_benchmark_prints_both_rates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    # in this process: another one would wait for its imports longer than it measures
    words = ["--size", "96", "--tile", "64", "--rounds", "1", "--backbone", "small"]
    runpy.run_path(str(BENCHMARKS / "predict.py"))["main"](words)
    _, title, _, *lines = capsys.readouterr().out.splitlines()
    assert title == "96 x 96 pixels in 6 tiles of 64"
    rates = {line[:24].strip(): float(line.split()[-2]) for line in lines[:2]}
    assert list(rates) == ["bare model", "predict"]
    assert all(rate > 0 for rate in rates.values())
    kept = re.fullmatch(r"predict keeps (\d+\.\d\d) \(.*\) of the bare model's speed", lines[2])
    assert kept
    assert float(kept[1]) == pytest.approx(rates["predict"] / rates["bare model"], abs=0.006)
    # rows begin at 0, 20 and 80 and columns at 0 and 60: 24 + 64 + 16 and 64 + 36 pixels are seen
    assert lines[3] == f"tiles alone would leave {96**2 / (104 * 100):.2f}"
