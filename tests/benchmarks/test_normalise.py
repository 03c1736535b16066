import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "normalise.py"


def test_rates_and_their_ratio_are_printed_for_growing_sources() -> None:
    command = [sys.executable, str(SCRIPT), "--patches", "8", "--size", "16", "--rounds", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    title, *lines = done.stdout.splitlines()
    assert title.startswith("16 x 16 pixels with masks")
    tables = [lines[start : start + 4] for start in range(0, len(lines), 4)]
    assert [head.split(" ")[0] for head, *_ in tables] == ["2", "4", "8", "between"]
    for _, *ways, ratio in tables:
        assert [line.split()[0] for line in ways] == ["rasterio", "normalise"]
        for line in ways:
            least, median, most = map(float, line.split()[1:])
            assert 0 < least <= median <= most
        assert ratio.startswith("ratio")
