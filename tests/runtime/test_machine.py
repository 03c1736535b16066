import os
import re
import time
from pathlib import Path

import pytest

from eocontrast.runtime import machine


def test_processor_names_usable_cores() -> None:
    model, _, cores = machine.processor().rpartition(", ")
    assert model
    assert cores == f"{len(os.sched_getaffinity(0))} cores"


def test_linux_names_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_PROCESSORS", listed)
    without = machine.processor()
    assert re.match(r"\w+.*, \d+ cores$", without)  # the architecture
    listed.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\nprocessor\t: 1\n")
    assert machine.processor().startswith("Fast CPU @ 3 GHz, ")


def test_process_starts_before_now() -> None:
    assert 0 < time.time() - machine.process_start() < 86400
