"""`kill -9` at seeded random moments: every stage goes on, and ends in the bytes of a quiet run.

A stage runs in a process that is forked from this one, for its imports take longer than its work.
As DVC does, its outputs are removed before it runs.
"""

from __future__ import annotations

import importlib
import os
import re
import runpy
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import cpu_count
from mlflow import MlflowClient
from mlflow.entities import Run
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.tracking.store import EXPERIMENT
from eocontrast.training import checkpoint as training_state

pytestmark = [
    pytest.mark.slow,
]

ROOT = Path(__file__).parents[1]
INIT = "dual_simclr_resnet"


@dataclass(frozen=True)
class Step:
    """A stage as dvc.yaml calls it, and what it writes."""

    name: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        script = self.name.removesuffix("_grid")
        return [str(ROOT / f"stages/{script}.py"), *self.arguments]


STORE, WEIGHTS = "data/patches/simulated", f"models/pretrained/{INIT}.safetensors"
SINGLE = "models/finetuned"
POINT = (".json", "_classes.csv", "_confusion.csv", "_predictions.parquet")
CURVE = ("headline.json", "summary.json", "label_curve.csv", "per_class.csv", "plots.json")
STEPS = {
    step.name: step
    for step in (
        Step(
            "download",
            ("simulated", "data/raw/simulated", "data/manifests/simulated"),
            ("data/manifests/simulated",),
        ),
        Step(
            "normalise",
            ("data/manifests/simulated", STORE, "metrics/audit/simulated.json"),
            (STORE, "metrics/audit/simulated.json"),
        ),
        Step("pretrain", (INIT, STORE, WEIGHTS), (WEIGHTS,)),
        Step(
            "finetune",
            (INIT, STORE, "models/pretrained", f"models/label_curve/{INIT}"),
            (f"models/label_curve/{INIT}",),
        ),
        Step(
            "evaluate",
            ("single", STORE, SINGLE, "metrics"),
            tuple(f"metrics/test{rest}" for rest in POINT),
        ),
        Step(
            "evaluate_grid",
            ("grid", STORE, "models/label_curve", "metrics"),
            ("metrics/arms", "metrics/predictions", "metrics/qualitative.npz"),
        ),
        Step(
            "label_curve",
            ("metrics", "models/pretrained"),
            tuple(f"metrics/{name}" for name in (*CURVE, "label_curve.png", "qualitative.png")),
        ),
    )
}


def shrink(params: dict[str, Any]) -> None:
    """Every stage, seconds each; long enough to be hit in the middle."""
    params["precision"] = "no"
    params["normalise"] |= {"shard_mib": 1, "check_shift": False}
    scenes = {"pretrain_scenes": 4, "train_scenes": 8, "test_scenes": 4}
    params["sources"]["simulated"] |= {
        "patch_size": 32,
        "scene_size": 3,
        "labelled_scene_size": 3,
        "test_patches": 0,
        **scenes,
    }
    small = {"channels": [8, 8, 16, 16], "stem_width": 8}
    params["backbones"]["resnet"]["options"] = small
    runs, curve = params["pretrain"]["runs"], params["label_curve"]
    tiny = {"epochs": 4, "warmup_epochs": 1, "batch_size": 16, "crop": 24, "projection_dim": 8}
    runs[INIT] |= tiny
    params["pretrain"]["runs"] = {name: runs[name] for name in (INIT, "random_resnet")}
    for recipe in params["finetune"]["recipe"].values():
        recipe |= {"epochs": 1, "min_steps": 12, "crop": 24}
    curve |= {"fractions": [0.5, 1.0], "seeds": [0, 1], "more_seeds": [], "bootstrap_samples": 100}
    arms = curve["arms"]
    kept = {INIT: arms[INIT], "random_resnet": {"unet": arms["random_resnet"]["unet"]}}
    curve |= {"arms": kept, "ensembles": {}, "headline": {}}
    params["qualitative"] |= {"arms": ["unet"], "fraction": 1.0}


def begin(step: Step, project: Path) -> int:
    """The stage in a process of its own, its outputs gone; its id."""
    for output in step.outputs:
        path = project / output
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    process = os.fork()
    if process:
        return process
    code = 1
    # `os._exit` leaves semaphores behind, of which a process of the standard library would warn
    os.environ["PYTHONWARNINGS"] = "ignore::UserWarning"
    try:
        os.chdir(project)
        log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(log, number)
        sys.stdout = sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - until it ends
        sys.argv = step.command
        runpy.run_path(step.command[0], run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(process: int, seconds: float | None = None) -> int | None:
    """Exit code of the process, or None where it still runs after that time."""
    end = time.monotonic() + (seconds if seconds is not None else 1200)
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def complete(step: Step, project: Path) -> float:
    """Seconds that the stage takes."""
    start = time.monotonic()
    code = wait(begin(step, project))
    assert code == 0, (project / "log").read_text()[-3000:]
    return time.monotonic() - start


def end(process: int, number: signal.Signals) -> int:
    """Send the signal; the exit code."""
    os.kill(process, number)
    code = wait(process)
    assert code is not None
    return code


def contents(project: Path, *outputs: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for output in outputs:
        path = project / output
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found |= {str(f.relative_to(project)): f.read_bytes() for f in files if f.is_file()}
    return found


@dataclass
class Quiet:
    """A project in which every stage ran once, what that left, and its seconds."""

    project: Path
    expected: dict[str, dict[str, bytes]]
    seconds: dict[str, float]


def import_once() -> None:
    """All that stages import, so that forked ones begin with their work."""
    for step in STEPS.values():
        runpy.run_path(step.command[0], run_name="imported")
    for name in ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.db.utils"):
        importlib.import_module(name)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    import_once()
    project = tmp_path_factory.mktemp("kills")
    yaml = YAML()
    params = yaml.load(PARAMS)
    shrink(params)
    yaml.dump(params, project / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        made = Quiet(project, {}, {})
        for name, step in STEPS.items():
            if name == "evaluate":
                single = Step("finetune", ("single", STORE, "models/pretrained", SINGLE), (SINGLE,))
                complete(single, project)
            if name == "evaluate_grid":  # the U-Net has another init
                prepare_unet(project)
            made.seconds[name] = complete(step, project)
            made.expected[name] = contents(project, *step.outputs)
    return made


def prepare_unet(project: Path) -> None:
    """Train the U-Net, which no test interrupts."""
    random = "models/pretrained/random_resnet.safetensors"
    complete(Step("pretrain", ("random_resnet", STORE, random), (random,)), project)
    folder = "models/label_curve/random_resnet"
    arguments = ("random_resnet", STORE, "models/pretrained", folder)
    complete(Step("finetune", arguments, (folder,)), project)


def runs(project: Path) -> list[Run]:
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=5000))


def orphans(project: Path) -> list[int]:
    """Processes of stages that outlived them, by where they run.

    One that was just being started sees that nobody waits for it once its imports are done.
    """
    found = _running_in(project)
    limit = time.monotonic() + 60
    while found and time.monotonic() < limit:
        time.sleep(0.2)
        found = _running_in(project)
    return found


def _running_in(project: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if (process / "cwd").resolve() == project:
                found.append(int(process.name))
    return found


FEW, MANY = 2, 20
"""Kills a kind of stage."""

OFTEN = 0.02
"""Seconds between checkpoints: trainings of a second would end without one."""


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", STEPS)
def test_a_stage_that_is_killed_goes_on_to_the_same_bytes(
    quiet: Quiet,
    name: str,
    kills: int,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr(training_state, "CHECKPOINT_SECONDS", OFTEN)
    step, project, done = STEPS[name], quiet.project, 0
    draws, completions, gone_on = np.random.default_rng(kills), 0, 0
    while done < kills:
        process = begin(step, project)
        code = wait(process, draws.uniform(0, quiet.seconds[name]))
        if code is None:
            code = end(process, signal.SIGKILL)  # 0 where it ended just before
        if code == -signal.SIGKILL:
            done += 1
            gone_on += len(begun(project))
            if done < kills and draws.random() < 0.7:  # most are killed several times
                continue
            complete(step, project)
        else:
            assert code == 0, (project / "log").read_text()[-3000:]
        completions += 1
        assert contents(project, *step.outputs) == quiet.expected[name]
    record_property("kills", done)
    record_property("completions", completions)
    record_property("gone_on_with", gone_on)
    assert not orphans(project)
    assert not list((project / "checkpoints").glob("*"))
    assert not list(project.rglob("*.partial"))


def test_an_evaluation_that_was_killed_registers_one_model(quiet: Quiet) -> None:
    step, project = STEPS["evaluate"], quiet.project
    for share in (0.5, 0.9):
        process = begin(step, project)
        if wait(process, share * quiet.seconds["evaluate"]) is None:
            end(process, signal.SIGKILL)
    complete(step, project)
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    assert len(client.search_model_versions("name = 'land-cover-single-label'")) == 1


def test_a_pretraining_that_was_killed_is_one_run_with_one_curve(quiet: Quiet) -> None:
    step, project = STEPS["pretrain"], quiet.project
    for share in (0.3, 0.6, 0.8):
        process = begin(step, project)
        if wait(process, share * quiet.seconds["pretrain"]) is None:
            end(process, signal.SIGKILL)
    complete(step, project)
    assert not orphans(project)
    ended = [run for run in runs(project) if run.info.run_name.startswith(f"pretrain@{INIT}")]
    assert {run.info.status for run in ended} == {"FINISHED"}
    client = MlflowClient(tracking_uri=f"sqlite:///{project / 'mlflow.db'}")
    for run in ended:  # of this test and those before
        history = client.get_metric_history(run.info.run_id, "loss")
        assert Counter(metric.step for metric in history) == Counter(range(1, 5))


CHECKPOINT = re.compile(r"[0-9a-f]{64}(-\w+-[0-9.]+-[0-9]+)?$")
"""Of a pretraining or a point of the curve."""


def begun(project: Path) -> list[Path]:
    """What a stage works at, and goes on with after a signal."""
    kept = [path for path in (project / "checkpoints").glob("*") if CHECKPOINT.match(path.name)]
    return kept + list(project.glob("data/patches/simulated.partial/plan"))


def signalled(step: Step, project: Path, number: signal.Signals) -> int:
    """Exit code of a stage that gets a signal once it has begun its work."""
    process = begin(step, project)
    while not begun(project):
        ended = wait(process, 0.001)
        if ended is not None:
            return ended
    return end(process, number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", ["normalise", "pretrain", "finetune"])
def test_a_signal_ends_a_stage_with_the_shells_code_and_one_line(
    quiet: Quiet,
    name: str,
    number: signal.Signals,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_state, "CHECKPOINT_SECONDS", OFTEN)
    step, project, log = STEPS[name], quiet.project, quiet.project / "log"
    for _ in range(5):  # on a busy machine a stage, or a point, may be over before its signal
        log.write_text("")
        ended = signalled(step, project, number)
        if ended and begun(project):
            break
        complete(step, project)
    said = log.read_text()
    assert (ended, "Traceback" in said) == (code, False), said
    assert begun(project)
    assert said.endswith(f"{name}: stopped by {number.name}; `dvc repro` continues from here\n")
    with suppress(FileNotFoundError):
        assert not list(project.rglob("*.safetensors.partial"))
    complete(step, project)
    assert contents(project, *step.outputs) == quiet.expected[name]


def workers(process: int) -> list[int]:
    """Return the worker processes of a stage."""
    with suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(c) for c in children if b"Loky" in Path(f"/proc/{c}/cmdline").read_bytes()]
    return []


@pytest.mark.skipif(cpu_count() < 2, reason="takes two cores")
@pytest.mark.parametrize("name", ["finetune", "evaluate_grid"])
def test_a_stage_that_loses_a_worker_says_so_and_goes_on_to_the_same_bytes(
    quiet: Quiet, name: str
) -> None:
    step, project, log = STEPS[name], quiet.project, quiet.project / "log"
    for _ in range(5):  # on a busy machine the worker may be done before it is killed
        log.write_text("")
        process = begin(step, project)
        code = None
        while code is None and len(found := workers(process)) < 2:
            code = wait(process, 0.001)
        if code is None:
            os.kill(found[0], signal.SIGKILL)
            code = wait(process, 60)
            assert code is not None
        if code:
            break
    said = log.read_text()
    assert (code, "Traceback" in said) == (2, False), said
    assert "a worker process was killed, perhaps because memory ran out: " in said
    assert said.endswith("; `dvc repro` continues from here\n")
    complete(step, project)
    assert contents(project, *step.outputs) == quiet.expected[name]
    assert not orphans(project)
