from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_contrast_prints_both_losses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    main = import_module("contrast").main
    main(["--batches", "8", "16", "--dim", "4", "--rounds", "2"])
    _, _, *lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines]
    assert [row[:2] for row in rows] == [
        [batch, name] for batch in ("8", "16") for name in ("floor", "eocontrast", "lightly")
    ]
    for _, _, least, median, most, memory in rows:
        assert 0 < float(least) <= float(median) <= float(most)
        assert float(memory) >= 0
    main(["--batches", "16", "--rounds", "1", "--limit", "0"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("more than 0 GiB")
