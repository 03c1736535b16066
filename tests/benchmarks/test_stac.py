from importlib import import_module

import pytest
from clones import ROOT


@pytest.mark.slow
def test_rates_and_memory_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import_module("stac").main(["--patches", "5", "--size", "32", "--rounds", "1"])
    machine, title, *ways, ratio, patches, memory = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    assert title.startswith("5 patches a second")
    assert [way.split()[0] for way in ways] == ["odc-stac", "stac"]
    assert ratio.startswith("ratio")
    assert patches.split() == ["patches", "1", "5"]
    assert all(float(mib) > 50 for mib in memory.split()[3:])
