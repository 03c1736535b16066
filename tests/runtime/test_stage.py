import logging
import runpy
import shutil
from pathlib import Path

import pytest
from shipped import PARAMS

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.stage import run_stage, stage

ROOT = Path(__file__).parents[2]
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py"))


def test_user_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, stage("normalise"):
        raise UserError("a.tif: no such file")
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "normalise: a.tif: no such file\n")


def test_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stage("normalise"):
        raise ZeroDivisionError


def test_finished_stage_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("normalise"):
        pass
    assert capsys.readouterr() == ("", "")


def test_table_creation_is_quiet() -> None:
    with stage("normalise"):
        assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)
        assert logging.getLogger("alembic.runtime.migration").isEnabledFor(logging.WARNING)


def called(name: str, *words: str) -> int:
    """Return the exit code of a stage called with these arguments."""
    script = str(ROOT / f"stages/{name}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [script, *words])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(script, run_name="__main__")
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, ()) for name in STAGES]
    + [(name, ("simulated",)) for name in STAGES if name != "check"],
)
def test_missing_arguments_are_named(
    name: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(name, *words) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"{name.removesuffix('_grid')}: missing a required argument: ")
    assert f"; expected: python {ROOT}/stages/{name}.py " in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("pretrain", ("moco", "a", "b"), "'moco' is none of pretrain.runs: random_resnet, "),
        ("finetune", ("moco", "a", "b", "c"), "'moco' is none of label_curve.arms: "),
        ("download", ("sen12", "a", "b"), "name is 'sen12', which is none of simulated, "),
        ("tune", ("arm", "a", "b"), "what is 'arm', which is none of arms, pretraining"),
        ("tune", ("arms", "a", "b"), "arms start from weights: name their folder"),
        ("tune", ("arms", "a", "b", "c", "moco"), "'moco' is none of the arms of label_curve: "),
        ("tune", ("pretraining", "a", "b", "moco"), "'moco' is none of the inits of frozen arms: "),
        (
            "normalise",
            ("a", "b", "c", "d", "e"),
            "too many positional arguments; expected: python ",
        ),
    ],
)
def test_unknown_argument_lists_choices(
    name: str,
    words: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(PARAMS, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert called(name, *words) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"{name}: {says}")
    assert message.count("\n") == 1


def test_arguments_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []

    def main(name: str, out: Path, *given: str) -> None:
        taken.extend((name, out, *given))

    monkeypatch.setattr("sys.argv", ["a.py", "one", "b", "c", "d"])
    run_stage("a", main)
    assert taken == ["one", Path("b"), "c", "d"]
