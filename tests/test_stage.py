import logging

import pytest

from eocontrast.errors import UserError
from eocontrast.stage import stage


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
