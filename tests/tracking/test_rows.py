"""Several processes log into one database while another reads it, and all find none: rows count."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from eocontrast.tracking.store import EXPERIMENT
from eocontrast.tracking.tracker import Tracker

pytestmark = [
    pytest.mark.slow,
]

PROCESSES, RUNS, STEPS = 3, 4, 10

LOG = """
import sys
from eocontrast.tracking.tracker import Tracker
name, runs, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for number in range(runs):
    with Tracker("pretrain").start(f"{name} {number}", {"a": number}) as run:
        for step in range(1, steps + 1):
            run.log({"loss": 1 / step}, step=step)
"""

READ = """
import sys, time
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
while True:
    for experiment in client.search_experiments():
        client.search_runs([experiment.experiment_id])
    time.sleep(0.01)
"""


def test_concurrent_writers_lose_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    # MLflow's page takes no lock: open before the database exists, it would create tables as well
    Tracker("pretrain")
    sizes = [str(RUNS), str(STEPS)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", LOG, f"process {number}", *sizes],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    reader = subprocess.Popen([sys.executable, "-c", READ, uri], stderr=subprocess.DEVNULL)
    errors = [writer.communicate(timeout=500)[1] for writer in writers]
    reader.kill()
    reader.wait()
    assert [writer.returncode for writer in writers] == [0] * PROCESSES, "\n".join(errors)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    names = {f"process {p} {number}" for p in range(PROCESSES) for number in range(RUNS)}
    assert Counter(str(run.info.run_name) for run in found) == Counter(names)
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [(m.step, m.value) for m in history] == [(k, 1 / k) for k in range(1, STEPS + 1)]
