import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "normalise.py"


def test_rates_and_their_ratio_are_printed_for_growing_sources() -> None:
    command = [sys.executable, str(SCRIPT), "--patches", "8", "--size", "16", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    title, _, *lines = done.stdout.splitlines()
    assert title.startswith("16 x 16 pixels with masks")
    rows = [[float(cell) for cell in line.split()] for line in lines]
    assert [patches for patches, *_ in rows] == [2, 4, 8]
    for _, alone, stage, ratio in rows:
        assert alone > 0
        assert stage > 0
        assert abs(ratio - stage / alone) < 0.02
