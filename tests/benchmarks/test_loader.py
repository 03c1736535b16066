from importlib import import_module
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "loader.py"


@pytest.mark.parametrize("options", [["--interleave", "pixel"], ["--interleave", "band", "--cold"]])
def test_rates_and_both_ratios_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    sizes = ["--patches", "5", "--batch", "2", "--size", "16", "--rounds", "2"]
    import_module("loader").main([*sizes, *options])
    machine, title, _, *lines = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    cache = "an empty" if "--cold" in options else "a warm"
    assert title == f"5 pairs of 16 x 16 pixels, batches of 2, {cache} page cache"
    rates = {line[:24].strip(): [float(n) for n in line[24:].split()] for line in lines[:3]}
    assert list(rates) == ["rasterio", "patch store", "memory copy"]
    for least, median, most in rates.values():
        assert 0 < least <= median <= most
    for line, start in zip(lines[3:], ("the store is ", "and reaches "), strict=True):
        least, most = (float(n) for n in line.partition("(")[2].partition(")")[0].split(" to "))
        assert line.startswith(start)
        assert 0 <= least <= float(line.removeprefix(start).split()[0]) <= most
