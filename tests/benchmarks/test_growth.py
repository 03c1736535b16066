import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from clones import ROOT, shrink
from ruamel.yaml import YAML
from shipped import PARAMS

BENCHMARKS = ROOT / "benchmarks"


def test_every_part_is_measured_by_how_much_there_is_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    yaml, tiny = YAML(), tmp_path / "params.yaml"
    params = yaml.load(PARAMS)
    shrink(params)
    yaml.dump(params, tiny)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(import_module("growth"), "PARAMS", tiny)
    # hundredths of a second are printed, and some parts take few
    clock = SimpleNamespace(perf_counter=lambda: 100 * time.perf_counter())
    monkeypatch.setattr(import_module("growth"), "time", clock)
    import_module("growth").main(["--scenes", "2", "--patch-size", "32", "--steps", "1", "2"])
    machine, *lines = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    parts = [lines[first : first + 3] for first in range(0, len(lines), 3)]
    titles = ["patches: stores", "patches: training", "patches: scores"]
    titles += ["fractions: training", "seeds: training"]
    assert [title[:24].strip() for title, _, _ in parts] == titles
    for title, seconds, each in parts:
        assert title[24:].split() == ["1", "x", "2", "x"]
        once, twice = (float(number) for number in seconds[24:].split())
        one, two = (float(number) for number in each[24:].split())
        assert one == 1
        assert two == pytest.approx(twice / 2 / once, abs=0.05)
