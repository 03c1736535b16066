import ast
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from eocontrast.runtime import files
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import (
    check_free_disk,
    file_md5,
    file_sha256,
    find_hint,
    whole,
    write_text,
)


@pytest.mark.parametrize("free", [0, 2**20 - 1])
def test_full_disk_names_both_amounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"the store needs 1\.0 MiB, .* has \d\.\d MiB free"):
        check_free_disk(tmp_path, 2**20, "the store")


def test_free_disk_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    check_free_disk(tmp_path, 2**20, "the store")


def test_file_digests_are_right(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pairs" * 100_000)
    assert file_md5(tmp_path / "a") == hashlib.md5(b"pairs" * 100_000).hexdigest()
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"pairs" * 100_000).hexdigest()
    with pytest.raises(UserError, match="cannot be read"):
        file_md5(tmp_path)


ROOT = Path(__file__).parents[2]
WRITERS = {"write_text", "write_bytes", "savefig", "save_file", "to_parquet", "to_csv"}
IN_A_FOLDER_THAT_IS_NOT_USED_UNTIL_IT_IS_WHOLE = {
    "build.py": "note.write_text",
    "index.py": "index.to_parquet",
    "polygons.py": "frame.to_parquet",
    "wheels.py": "requirements.write_text",
}


def bare_writes(file: Path) -> Iterator[str]:
    """Yield calls that write a file under its final name; `to_csv` may return text instead."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        names = {ast.unparse(part) for part in (node.func.value, *node.args)}
        returns = node.func.attr == "to_csv" and not node.args
        if node.func.attr in WRITERS and not returns and "partial" not in names:
            yield ast.unparse(node.func)


def test_all_writes_are_atomic() -> None:
    found = {
        file.name: write
        for folder in ("src", "stages")
        for file in (ROOT / folder).rglob("*.py")
        for write in bare_writes(file)
    }
    assert found == IN_A_FOLDER_THAT_IS_NOT_USED_UNTIL_IT_IS_WHOLE


def test_write_text_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a/b.txt", "ä")
    assert (tmp_path / "a/b.txt").read_bytes() == "ä".encode()
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_text(tmp_path / "a/b.txt", "other")
    assert [file.read_bytes() for file in (tmp_path / "a").iterdir()] == ["ä".encode()]


def in_no_folder(folder: Path) -> Path:
    return Path("/proc/x.png")


def below_a_file(folder: Path) -> Path:
    (folder / "a").write_text("mine")
    return folder / "a/x.png"


def is_a_folder(folder: Path) -> Path:
    return folder


def has_a_long_name(folder: Path) -> Path:
    return folder / ("x" * 300)


@pytest.mark.parametrize("place", [in_no_folder, below_a_file, is_a_folder, has_a_long_name])
def test_impossible_path_is_named(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    path = place(tmp_path)
    with pytest.raises(UserError) as caught, whole(path) as partial:
        partial.write_text("never")
    assert str(caught.value).startswith(f"{path} ")
    assert any(advice in str(caught.value) for advice in ("name a file", "choose another path"))


def test_missing_folder_is_created(tmp_path: Path) -> None:
    with whole(tmp_path / "a/b") as partial:
        assert not partial.exists()
        partial.write_text("there")
    assert (tmp_path / "a/b").read_text() == "there"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_leftovers_are_removed(tmp_path: Path) -> None:
    """Kill one writer while another still writes the same file."""
    code = (
        "import sys, time; from pathlib import Path; from eocontrast.runtime.files import whole\n"
    )
    code += "with whole(Path(sys.argv[1])) as partial:\n"
    code += "    partial.touch(); print('begun', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "[a].txt")]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
    begun = sorted(tmp_path.iterdir())
    assert len(begun) == 2
    writers[0].kill()
    writers[0].communicate()
    mine = (tmp_path / "[a].txt.notes.partial", tmp_path / "[a].txt.1.partial")
    for other in mine:
        other.touch()
    write_text(tmp_path / "[a].txt", "whole")
    left = {file.name.split(".")[-2] for file in begun if file.exists()}
    assert left == {str(writers[1].pid)}
    assert all(other.exists() for other in mine)
    writers[1].kill()
    writers[1].communicate()


@pytest.mark.parametrize("module", ["models/backbones.py", "modalities.py", "runtime/new.py"])
def test_code_digest_covers_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    package = shutil.copytree(Path(files.__file__).parents[1], tmp_path / "eocontrast")
    monkeypatch.setattr(files, "__file__", str(package / "runtime/files.py"))
    same = files.code_sha256.__wrapped__()
    assert same == files.code_sha256.__wrapped__()
    with (package / module).open("a") as file:
        file.write("x = 1\n")
    assert files.code_sha256.__wrapped__() != same


def test_hint_in_temporary_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dvc exp run --temp` copies only tracked files, and names its root in DVC_ROOT."""
    project, copy = tmp_path / "project", tmp_path / "project/.dvc/tmp/exps/x"
    copy.mkdir(parents=True)
    (project / "mine").mkdir()
    (project / "mine/S2.tif").touch()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    hint = find_hint(Path("mine/S2.tif"))
    assert str(project / "mine/S2.tif") in hint
    assert "dvc add" in hint
    assert find_hint(Path("mine/S1.tif")) == "put it there, or correct its path"
    monkeypatch.chdir(project)
    assert find_hint(Path("gone.tif")) == "put it there, or correct its path"
