import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "predict.py"


def test_both_rates_and_their_ratio_are_printed() -> None:
    options = ["--size", "96", "--tile", "64", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options], capture_output=True, text=True, check=True
    )
    title, _, *lines = done.stdout.splitlines()
    assert title == "96 x 96 pixels in tiles of 64"
    rates = {line[:12].strip(): float(line.split()[-2]) for line in lines[:2]}
    assert list(rates) == ["bare model", "predict"]
    assert all(rate > 0 for rate in rates.values())
    kept = re.fullmatch(r"predict keeps (\d\.\d\d) of the bare model's speed", lines[2])
    assert kept
    assert abs(float(kept[1]) - rates["predict"] / rates["bare model"]) < 0.02
    # starts at 0 and 60, so 64 + 36 pixels a side
    assert lines[3] == f"tiles alone would leave {(96 / 100) ** 2:.2f}"
