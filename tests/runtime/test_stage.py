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


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, stage("normalise"):
        raise UserError("a.tif: no such file")
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "normalise: a.tif: no such file\n")


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), stage("normalise"):
        raise ZeroDivisionError


def test_a_stage_that_works_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("normalise"):
        pass
    assert capsys.readouterr() == ("", "")


def test_table_creation_is_not_reported() -> None:
    with stage("normalise"):
        assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)
        assert logging.getLogger("alembic.runtime.migration").isEnabledFor(logging.WARNING)


def called(name: str, *words: str) -> int:
    """Exit code of a stage that is called with these words."""
    script = str(ROOT / f"stages/{name}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [script, *words])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(script, run_name="__main__")
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("words", [(), ("simulated",)])
def test_too_few_words_are_answered_with_those_expected(
    name: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(name, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name.removesuffix('_grid')}: missing a required argument: ")
    assert f"; expected: python {ROOT}/stages/{name}.py " in said
    assert said.count("\n") == 1


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
        ("report", ("a", "b", "c", "d", "e"), "too many positional arguments; expected: python "),
    ],
)
def test_an_unknown_word_is_answered_with_those_known(
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
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: {says}")
    assert said.count("\n") == 1


def test_words_become_what_a_stage_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []

    def main(name: str, out: Path, *given: str) -> None:
        taken.extend((name, out, *given))

    monkeypatch.setattr("sys.argv", ["a.py", "one", "b", "c", "d"])
    run_stage("a", main)
    assert taken == ["one", Path("b"), "c", "d"]
