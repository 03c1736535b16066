import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Row
from mlflow.exceptions import MlflowException
from specs import finetuned_spec

from eocontrast.curve.bootstrap import Interval
from eocontrast.curve.label_curve import ArmCurve
from eocontrast.evaluation.evaluate import Evaluation
from eocontrast.evaluation.results import ArmResult
from eocontrast.finetuning.run import Trained
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.tasks import TASKS, TaskName
from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.signals import Stopped
from eocontrast.tracking.points import log_curves, log_scored, log_trained
from eocontrast.tracking.store import EXPERIMENT
from eocontrast.tracking.tracker import Tracker, flatten
from eocontrast.tracking.views import PARENT_TAG, allowed, view_tags

Rows = Callable[[], list[Row]]


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables and experiment, created once: that takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        Tracker("create")
    return path


@pytest.fixture
def rows(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """All runs of a database of this test's own, oldest first."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_database, path)
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return lambda: runs_in(path)


def runs_in(database: Path) -> list[Row]:
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return list(found)


def spec(seed: int = 0) -> FinetunedSpec:
    return finetuned_spec(
        init="dual_simclr_resnet",
        fraction=0.1,
        seed=seed,
        modality_dropout=0.5,
        recipe={"epochs": 3, "batch_size": 8},
    )


TRAINED = 1_700_000_000.0
"""Start of the training of a point, in seconds since 1970."""


def point(folder: Path, seed: int = 0) -> Trained:
    file = folder / f"0.1-{seed}.safetensors"
    file.write_bytes(b"weights" + bytes([seed]))
    history = [{"epoch": k, "loss": 1 / k, "val_AA": 0.1 * k} for k in (1, 2, 3)]
    return Trained("dual", file, spec(seed), history, (TRAINED + seed, TRAINED + seed + 42.5))


def evaluations(seed: int = 0, urban: str = "Urban/Built-up") -> list[Evaluation]:
    """With both sensors, and with each alone."""
    nothing = dict.fromkeys(("recall", "F1", "IoU"), math.nan)
    recall = {"Forest": 0.5, urban: 1.0}
    by_class = {name: dict.fromkeys(("recall", "F1", "IoU"), v) for name, v in recall.items()}
    by_class["Water"] = nothing
    return [
        Evaluation(
            spec(seed),
            inputs,
            {"AA": value, "ECE": 0.1, "mIoU": math.nan},
            by_class,
            pd.DataFrame(),
        )
        for inputs, value in (("s1+s2", 0.75), ("s1", 0.5), ("s2", 0.625))
    ]


# --- points


def test_point_and_evaluation_share_run(rows: Rows, tmp_path: Path) -> None:
    trained = point(tmp_path)
    log_trained(Tracker("finetune"), trained)
    log_scored(Tracker("evaluate"), ("dual", trained.file, evaluations()))
    (row,) = rows()
    assert row.info.status == "FINISHED"
    assert row.info.run_name == "dual 0.1 0"
    assert row.data.metrics == {
        "train_loss": pytest.approx(1 / 3),
        "val_AA": pytest.approx(0.3),
        "test.AA": 0.75,
        "score": 0.75,
        "test.ECE": 0.1,
        "test.s1.AA": 0.5,
        "test.s1.ECE": 0.1,
        "test.s2.AA": 0.625,
        "test.s2.ECE": 0.1,
        "test.recall.Forest": 0.5,
        "test.recall.Urban_Built-up": 1,
    }
    params = row.data.params
    assert (params["arm"], params["init"], params["fraction"]) == (
        "dual",
        "dual_simclr_resnet",
        "0.1",
    )
    assert params["inputs"] == "s1+s2"
    assert (params["recipe.epochs"], params["backbone"]) == ("3", "resnet10t")
    assert (params["task"], params["head"], params["modality_dropout"]) == (
        "single_label",
        "linear",
        "0.5",
    )
    assert row.data.tags["data.digest"] == "abc"
    assert row.data.tags["eocontrast.weights"] == file_sha256(trained.file)


def test_losses_logged_by_epoch(rows: Rows, tmp_path: Path) -> None:
    tracker = Tracker("finetune")
    log_trained(tracker, point(tmp_path))
    (row,) = rows()
    history = tracker.client.get_metric_history(row.info.run_id, "train_loss")
    assert sorted((m.step, m.value) for m in history) == [(1, 1), (2, 1 / 2), (3, 1 / 3)]


def test_point_took_its_training(rows: Rows, tmp_path: Path) -> None:
    """Scores that come later, or another process that logs it again, do not change the time."""
    tracker, trained = Tracker("finetune"), point(tmp_path)
    for again in (False, True):
        log_trained(tracker, replace(trained, again=again))
    log_scored(tracker, ("dual", trained.file, evaluations()))
    (row,) = rows()
    assert row.info.start_time == 1000 * TRAINED
    assert row.info.end_time - row.info.start_time == 42_500


def test_comparison_opens_with_score(rows: Rows, tmp_path: Path) -> None:
    tracker, trained = Tracker("finetune"), point(tmp_path)
    log_trained(tracker, trained)
    log_scored(tracker, ("dual", trained.file, evaluations()))
    assert min(rows()[0].data.metrics) == "score"


def test_point_names_its_data(rows: Rows, tmp_path: Path) -> None:
    log_trained(Tracker("finetune"), point(tmp_path))
    inputs = rows()[0].inputs
    assert inputs is not None
    (used,) = inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == (spec().data.get("name", "unknown"), "abc")
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_rows_open_below_each_other(rows: Rows, tmp_path: Path) -> None:
    """The single run holds its stages; a stage of the curve holds its points."""
    tracker = Tracker("finetune")
    single, *grid = [log_trained(tracker, point(tmp_path, seed)) for seed in range(3)]
    tracker.ran("finetune", "cpu", parent=single)
    tracker.ran("evaluate", "cpu", parent=single)
    tracker.ran("finetune_grid@dual", "cpu", points=grid)
    found = {row.info.run_name: row for row in rows()}
    parents = {name: row.data.tags.get(PARENT_TAG) for name, row in found.items()}
    stage = found["finetune_grid@dual"].info.run_id
    assert parents == {
        "dual 0.1 0": None,
        "finetune": single,
        "evaluate": single,
        "finetune_grid@dual": None,
        "dual 0.1 1": stage,
        "dual 0.1 2": stage,
    }


def test_points_have_separate_runs(rows: Rows, tmp_path: Path) -> None:
    tracker, points = Tracker("finetune"), [point(tmp_path, seed) for seed in range(3)]
    for trained in points:
        log_trained(tracker, trained)
    for trained in reversed(points):
        log_scored(tracker, ("dual", trained.file, evaluations(trained.spec.seed)))
    found = rows()
    assert len(found) == 3
    assert [row.data.params["seed"] for row in found] == ["0", "1", "2"]
    assert all(row.data.metrics["test.AA"] == 0.75 for row in found)


def test_equal_weights_of_two_arms(rows: Rows, tmp_path: Path) -> None:
    """The single run may stand on a point of the grid: its weights are the same bytes."""
    trained, tracker = point(tmp_path), Tracker("finetune")
    for name in ("single", "dual"):
        log_trained(tracker, replace(trained, arm=name))
    for name in ("single", "dual"):
        log_scored(tracker, (name, trained.file, evaluations()))
    found = rows()
    assert sorted(row.data.params["arm"] for row in found) == ["dual", "single"]
    named = sorted(str(row.info.run_name) for row in found)
    assert named == ["dual 0.1 0", "single dual_simclr_resnet 0.1 0"]
    assert all("test.AA" in row.data.metrics for row in found)


def test_evaluation_of_cached_weights(rows: Rows, tmp_path: Path) -> None:
    log_scored(Tracker("evaluate"), ("dual", point(tmp_path).file, evaluations()))
    (row,) = rows()
    assert row.data.metrics["test.AA"] == 0.75
    assert row.data.params["arm"] == "dual"
    assert row.info.status == "FINISHED"


@pytest.mark.parametrize("name", ["Moors, heathland", "Wald & Wiese", "Forêt", "50 % trees"])
def test_class_with_special_characters(rows: Rows, tmp_path: Path, name: str) -> None:
    log_scored(Tracker("evaluate"), ("dual", point(tmp_path).file, evaluations(urban=name)))
    (row,) = rows()
    recalls = {k: v for k, v in row.data.metrics.items() if k.startswith("test.recall.")}
    assert sorted(recalls.values()) == [0.5, 1]


# --- the curve


def curve_of(name: str, task: TaskName) -> ArmCurve:
    nothing = pd.DataFrame()
    result = ArmResult(
        name=name,
        task=task,
        metric=TASKS[task].metric,
        exclusive=True,
        init="dual_resnet",
        method="dual_simclr",
        head="linear",
        frozen=False,
        inputs="s1+s2",
        supervised=False,
        classes=("a",),
        points=nothing,
        by_class=nothing,
        groups=(),
        tallies={},
        left_out={},
        no_interval=(),
        origins={0: 0},
    )
    bands = tuple(Interval(v, v - 0.1, v + 0.1) for v in (0.4, 0.6))
    return ArmCurve(result, (0.1, 1.0), np.array([12.0, 120.0]), bands, np.zeros((2, 1)))


def test_curve_steps_are_labels(rows: Rows) -> None:
    curve = curve_of("dual", "single_label")
    tracker = Tracker("label_curve")
    log_curves(tracker, {"dual": curve, "unet": curve_of("unet", "segmentation")})
    found = {row.info.run_name: row for row in rows()}
    assert set(found) == {"curve dual", "curve unet"}
    run_id = found["curve dual"].info.run_id
    for name, values in {"AA": (0.4, 0.6), "AA.low": (0.3, 0.5), "AA.high": (0.5, 0.7)}.items():
        history = tracker.client.get_metric_history(run_id, name)
        found_at = {m.step: m.value for m in history}
        assert found_at == pytest.approx(dict(zip((12, 120), values, strict=True)))
    of_unet = found["curve unet"].data.metrics
    assert set(of_unet) == {"mIoU", "mIoU.low", "mIoU.high", "score"}
    assert of_unet["score"] == of_unet["mIoU"] == 0.6
    assert found["curve dual"].data.params == {
        "arm": "dual",
        "task": "single_label",
        "init": "dual_resnet",
        "inputs": "s1+s2",
    }


# --- stages


def test_stage_time_and_hardware(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run begins with its process, whenever it is opened."""
    began = time.time() - 100
    monkeypatch.setattr("psutil.Process.create_time", lambda _: began)
    figure = tmp_path / "a.png"
    figure.write_bytes(b"png")
    tracker = Tracker("qualitative")
    with tracker.stage_run("qualitative", {"patches": 6}, hardware="H100") as run:
        run.file(figure)
    (row,) = rows()
    assert (row.info.run_name, row.data.params) == ("qualitative", {"patches": "6"})
    assert row.data.metrics["seconds"] == pytest.approx(100, abs=20)
    assert row.info.end_time - row.info.start_time == pytest.approx(100_000, abs=20_000)
    kept = tracker.client.list_artifacts(run.run_id)
    assert [file.path for file in kept] == ["a.png"]
    assert row.data.tags["hardware"] == "H100"
    assert row.data.tags["torch"] == version("torch")


def test_seconds_of_continued_stage(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stopped process had done is part of what the stage took."""
    began = time.time() - 50
    monkeypatch.setattr("psutil.Process.create_time", lambda _: began)
    for stopped in (True, False):
        given = ("pretrain@x", {"lr": 0.1}, dict[str, str](), tmp_path / "digest", "2 x H100")
        with suppress(Stopped), Tracker("pretrain").resume(*given):
            if stopped:
                raise Stopped(signal.SIGTERM)
    (row,) = rows()
    assert row.data.metrics["seconds"] == pytest.approx(100, abs=20)
    assert row.data.tags["hardware"] == "2 x H100"


def test_scores_keep_end_time(rows: Rows, tmp_path: Path) -> None:
    trained, tracker = point(tmp_path), Tracker("finetune")
    log_trained(tracker, trained)
    (before,) = rows()
    time.sleep(0.05)
    log_scored(tracker, ("dual", trained.file, evaluations()))
    (after,) = rows()
    assert after.info.end_time == before.info.end_time


# --- runs


def test_experiment_has_views(rows: Rows) -> None:
    """A second tracker leaves them as they are."""
    for stage in ("pretrain", "finetune"):
        client = Tracker(stage).client
        experiment = client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        for tag, value in view_tags(experiment.experiment_id).items():
            assert experiment.tags[tag] == value


def test_views_refused_by_mlflow(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker("pretrain")
    tag = ("mlflow.note.content", "another text")
    tracker.client.set_experiment_tag(tracker.experiment_id, *tag)

    def refuse(*_: object) -> None:
        raise MlflowException("tags of this name\nare reserved")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    with Tracker("pretrain").start("a", {}):
        pass
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "no views" in record.message
    assert "tags of this name are reserved" in record.message
    assert [row.info.status for row in rows()] == ["FINISHED"]


def test_failed_run_marked(rows: Rows) -> None:
    def fail() -> None:
        with Tracker("pretrain").start("pretrain x", {"lr": 0.1}) as run:
            run.log({"loss": 2.0}, step=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (row,) = rows()
    assert row.info.status == "FAILED"
    assert row.data.metrics == {"loss": 2.0}


def killed(name: str, checkpoint: Path | None, steps: int) -> None:
    """A pretraining that ends without a word after some epochs."""
    run = Tracker("pretrain").resume(name, {"lr": 0.1}, {"data.digest": "abc"}, checkpoint)
    for step in range(1, steps + 1):
        run.log({"epoch": step, "loss": 1 / step}, step=step)


def completed(name: str, checkpoint: Path | None, steps: int) -> None:
    with Tracker("pretrain").resume(name, {"lr": 0.1}, {}, checkpoint) as run:
        for step in range(1, steps + 1):  # what the checkpoint remembers is told again
            run.log({"epoch": step, "loss": 1 / step}, step=step)


@pytest.mark.parametrize("steps", [0, 2, 4])
def test_pretraining_continues_its_run(rows: Rows, tmp_path: Path, steps: int) -> None:
    checkpoint = tmp_path / "digest"
    killed("pretrain x", checkpoint, steps)
    completed("pretrain x", checkpoint, 4)
    (row,) = rows()
    assert (row.info.status, row.data.params) == ("FINISHED", {"lr": "0.1"})
    history = Tracker("pretrain").client.get_metric_history(row.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(k, 1 / k) for k in (1, 2, 3, 4)]


def test_finished_run_with_checkpoint_continues(rows: Rows, tmp_path: Path) -> None:
    """A kill may fall between the end of the run and that of the stage."""
    checkpoint = tmp_path / "digest"
    checkpoint.touch()
    completed("pretrain x", checkpoint, 2)
    completed("pretrain x", checkpoint, 2)
    assert len(rows()) == 1
    checkpoint.unlink()
    completed("pretrain x", checkpoint, 2)
    assert len(rows()) == 2


def test_other_training_opens_run(rows: Rows, tmp_path: Path) -> None:
    killed("pretrain x", tmp_path / "digest", 1)
    completed("pretrain y", tmp_path / "digest", 1)
    completed("pretrain x", tmp_path / "other", 1)
    completed("pretrain x", None, 1)
    assert len(rows()) == 4


def test_stopped_run_marked_killed(rows: Rows) -> None:
    with pytest.raises(Stopped), Tracker("pretrain").start("a", {}):
        raise Stopped(signal.SIGTERM)
    (row,) = rows()
    assert row.info.status == "KILLED"


def test_kept_point_logged_once(rows: Rows, tmp_path: Path) -> None:
    trained = point(tmp_path)
    log_trained(Tracker("finetune"), trained)
    log_trained(Tracker("finetune"), replace(trained, again=True))
    (row,) = rows()
    history = Tracker("finetune").client.get_metric_history(row.info.run_id, "train_loss")
    assert [m.step for m in history] == [1, 2, 3]
    log_trained(Tracker("finetune"), trained)  # `dvc repro -f`
    assert len(rows()) == 2


def test_run_origin_tags(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "lucky-hen")
    repository = Path(__file__).parents[2]
    monkeypatch.chdir(repository)
    git = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    with Tracker("pretrain").start("a", {"run": {"lr": 0.1}, "long": "x" * 9000}):
        pass
    (row,) = rows()
    assert row.data.tags["dvc.experiment"] == "lucky-hen"
    assert row.data.tags["dvc.stage"] == "pretrain"
    assert row.data.tags["mlflow.source.name"] == "pretrain"
    assert row.data.tags["mlflow.source.git.commit"] == (head or "unknown")
    assert row.data.params["run.lr"] == "0.1"


def test_commit_outside_repository(rows: Rows) -> None:
    with Tracker("pretrain").start("a", {}):
        pass
    (row,) = rows()
    assert row.data.tags["mlflow.source.git.commit"] == "unknown"
    assert "dvc.experiment" not in row.data.tags


def test_many_metrics_logged_in_batches(rows: Rows) -> None:
    tracker = Tracker("pretrain")
    with tracker.start("a", {}) as run:
        run.log_all(({"loss": float(step)}, step) for step in range(2500))
    (row,) = rows()
    assert len(tracker.client.get_metric_history(row.info.run_id, "loss")) == 2500


def test_nested_params_dotted() -> None:
    assert flatten({"a": 1, "b": {"c": {"d": 2}, "e": [3]}}) == {"a": 1, "b.c.d": 2, "b.e": [3]}
    assert flatten({}) == {}


TELEMETRY = """
import importlib, sys

importlib.import_module(sys.argv[1])
from mlflow.telemetry import get_telemetry_client

sys.exit(get_telemetry_client() is not None)
"""


@pytest.mark.slow  # interpreters that import torch and MLflow
@pytest.mark.parametrize("module", ["eocontrast.tracking.tracker", "eocontrast.tracking.registry"])
def test_mlflow_telemetry_off(module: str) -> None:
    """Whichever module a stage imports first."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_DISABLE_TELEMETRY"}
    environment.pop("CI", None)  # MLflow keeps quiet there
    command = [sys.executable, "-W", "ignore", "-c", TELEMETRY, module]
    assert subprocess.run(command, env=environment, check=False).returncode == 0


# --- where runs are kept


def test_database_in_project_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queued run works in a temporary folder, and DVC_ROOT stays where the project is."""
    root, work = tmp_path / "project", tmp_path / "temporary"
    root.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(root))
    with Tracker("pretrain").start("a", {}) as run:
        figure = work / "a.png"
        figure.write_bytes(b"png")
        # never for a moment: threads that read patches, or pickle paths, would work there too
        monkeypatch.setattr(os, "chdir", lambda _: pytest.fail("the stage works elsewhere"))
        run.file(figure)
        run.text("card.md", "of a")
        run.log({"loss": 1.0})
    monkeypatch.undo()
    (row,) = runs_in(root / "mlflow.db")
    assert row.info.run_name == "a"
    kept = {path.name: path.read_bytes() for path in (root / "mlartifacts").rglob("*.*")}
    assert kept == {"a.png": b"png", "card.md": b"of a"}
    listed = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    monkeypatch.chdir(root)
    files = {file.path for file in listed.list_artifacts(row.info.run_id)}
    assert files == {"a.png", "card.md"}
    assert [path.name for path in work.iterdir()] == ["a.png"]


RACE = """
import sys, time
from pathlib import Path
from eocontrast.tracking.tracker import Tracker
mine, other = Path(sys.argv[1]), Path(sys.argv[2])
mine.touch()
while not other.exists():
    time.sleep(0.001)
with Tracker("pretrain").start(mine.name, {"a": 1}) as run:
    run.log({"loss": 1.0})
"""


def test_two_processes_create_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of the grid run side by side, and the first two find no database."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    names = [("one", "two"), ("two", "one")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, *(str(tmp_path / name) for name in pair)],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pair in names
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    found = runs_in(tmp_path / "mlflow.db")
    assert sorted(str(row.info.run_name) for row in found) == ["one", "two"]
    assert all(row.data.metrics == {"loss": 1} for row in found)


@pytest.mark.parametrize(
    "name", ["Sea & Lake", "Beaches, dunes, sands (coast)", "n/a", "Äcker", "x" * 250, "A@B"]
)
def test_any_class_name_is_logged(name: str) -> None:
    safe = allowed(f"classes.{name}")
    assert re.fullmatch(r"[/\w.\- :]{1,250}", safe)
    assert safe != allowed(f"classes.{name.replace('&', '@').replace('@', ',')}!")
