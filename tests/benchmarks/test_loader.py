import re
import subprocess
import sys
from pathlib import Path

import pytest

LOADER = Path(__file__).parents[2] / "benchmarks" / "loader.py"


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_both_ratios_are_printed(interleave: str) -> None:
    options = ["--patches", "5", "--batch", "2", "--size", "16", "--rounds", "2"]
    command = [sys.executable, str(LOADER), *options, "--interleave", interleave]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "5 pairs of 16 x 16 pixels, batches of 2"
    numbers = {
        line[:12].strip(): [float(cell) for cell in line[12:].split()] for line in lines[2:5]
    }
    assert list(numbers) == ["rasterio", "patch store", "memory copy"]
    for least, median, most in numbers.values():
        assert 0 < least <= median <= most
    assert re.fullmatch(r"the store is \d+\.\d times as fast as rasterio", lines[5])
    assert re.fullmatch(r"and takes \d+\.\d times as long as the memory copy", lines[6])
