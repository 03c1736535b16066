import ast
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = sorted((Path(__file__).parents[2] / "stages").glob("*.py"))

PROGRAM = """
import eocontrast.runtime.loading
import atexit, gc
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.stage import run_stage

while_loading = gc.isenabled()

class Kept:
    def __del__(self):
        print("freed")

kept = Kept()
kept.cycle = kept
atexit.register(print, "handler")

def main(how: str) -> None:
    print(while_loading, gc.isenabled(), gc.get_freeze_count() > 1000)
    if how == "mistake":
        raise UserError("a.tif: no such file")
    if how == "defect":
        raise ZeroDivisionError

run_stage("a", main)
"""


def run(program: Path, *words: str) -> tuple[int, list[str], str]:
    """Return exit code, the lines of stdout, and stderr of a program."""
    command = [sys.executable, str(program), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


def test_program_loads_without_collection_and_leaves_without_freeing(program: Path) -> None:
    # what it printed is there although stdout is a pipe, and handlers have run
    assert run(program, "well") == (0, ["False True True", "handler"], "")


def test_mistake_keeps_its_exit_code_and_its_one_line(program: Path) -> None:
    code, printed, told = run(program, "mistake")
    assert (code, told) == (2, "a: a.tif: no such file\n")
    assert printed == ["False True True", "handler", "freed"]


def test_defect_keeps_its_traceback(program: Path) -> None:
    code, _, told = run(program, "defect")
    assert code == 1
    assert told.rstrip().endswith("ZeroDivisionError")


def test_program_that_calls_a_stage_keeps_its_exit_code(program: Path, tmp_path: Path) -> None:
    """As a test does: that a stage went well says nothing about what called it."""
    caller = tmp_path / "caller.py"
    caller.write_text(
        "import runpy, sys\n"
        f"runpy.run_path({str(program)!r}, run_name='__main__')\n"
        "sys.exit('of the caller')\n"
    )
    code, _, told = run(caller, "well")
    assert (code, told) == (1, "of the caller\n")


@pytest.mark.parametrize("stage", STAGES, ids=lambda path: path.stem)
def test_stages_load_without_collection(stage: Path) -> None:
    imports = [
        node
        for node in ast.parse(stage.read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom) and "eocontrast" in ast.unparse(node)
    ]
    assert ast.unparse(imports[0]) == "import eocontrast.runtime.loading"
