"""A change in a module runs every stage again that uses it, and no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/eocontrast"
PLUMBING = {"cli", "config", "runtime", "tracking"}
"""Rooms that start, check or record things, but put no numbers into an output."""

STAGES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def run_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All of a file but what type checkers alone read."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from run_nodes(child)


def imported(source: Path) -> set[Path]:
    """Files of the package that a file imports when it runs."""
    found = set()
    for node in run_nodes(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("eocontrast."):
            folder = PACKAGE.joinpath(*(node.module or "").split(".")[1:])
            names = [folder / f"{alias.name}.py" for alias in node.names]
            submodules = [name for name in names if name.exists()]
            itself = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            found |= {itself, *submodules}
    return found


def used(source: Path) -> set[Path]:
    """The same with what those import in turn, but not through plumbing."""
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        new = {
            f
            for f in imported(waiting.pop()) - found
            if f.relative_to(PACKAGE).parts[0] not in PLUMBING
        }
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_depends_on_the_modules_that_it_uses(name: str) -> None:
    stage = STAGES[name].get("do", STAGES[name])
    script = next(word for word in stage["cmd"].split() if word.startswith("stages/"))
    assert script in stage["deps"]
    listed = {ROOT / dep for dep in stage["deps"] if dep.startswith("src/eocontrast/")}
    needed = used(ROOT / script)
    missing = [f for f in needed if not any(f == d or d in f.parents for d in listed)]
    assert not missing
    idle = [d for d in listed if not any(f == d or d in f.parents for f in needed)]
    assert not [d for d in idle if d.relative_to(PACKAGE).parts[0] not in PLUMBING]


def test_the_single_run_and_other_arms_are_no_business_of_an_arm() -> None:
    """Else one experiment would train the whole curve again."""
    tracked = STAGES["finetune_grid"]["do"]["params"]
    whole = {"finetune", "label_curve", "label_curve.arms"}
    assert not whole & set(tracked)


def test_the_single_run_is_no_business_of_the_curve() -> None:
    assert not any(p.startswith("finetune") for p in STAGES["evaluate_grid"]["params"])


def test_arms_follow_the_recipe() -> None:
    tracked = STAGES["finetune_grid"]["do"]["params"]
    assert [p for p in tracked if p.startswith("finetune")] == ["finetune.recipe"]
