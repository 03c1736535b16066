import re
from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SIZES = ["--pairs", "8", "--size", "40", "--crop", "32", "--batch", "4", "--rounds", "1"]


def test_pretrain_prints_rates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import_module("pretrain").main(SIZES)
    machine, title, _, *lines = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    assert title == "8 pairs of 40 px, crops of 32, batches of 4"
    rates = {line[:24].strip(): float(line.split()[-2]) for line in lines[:3]}
    assert list(rates) == ["limit", "eocontrast", "reference"]
    assert min(rates.values()) > 0
    for line, other in zip(lines[3:5], ("limit", "reference"), strict=True):
        said = re.search(r"\d+\.\d\d", line)
        assert said
        assert abs(float(said[0]) - rates["eocontrast"] / rates[other]) < 0.1
    waited = re.match(r"\d+\.\d", lines[5])
    assert waited
    assert 0 < float(waited[0]) < 100


def test_reference_prints_rates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import_module("reference").main([*SIZES, "--workers", "0"])
    rates = [float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rates) == 1
    assert rates[0] > 0
