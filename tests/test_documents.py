"""Every command of the pages is run by a test, or at least is one that its program understands."""

from __future__ import annotations

import re
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

import click
import pytest
from documents import PAGES, ROOT, commands, fenced, prose
from ruamel.yaml import YAML
from shipped import PARAMS

RUN_IN_TESTS = (
    "mlflow ui",
    "dvc exp run -S finetune.fraction=0.1",
    "dvc exp run -S finetune.arm=mma_frozen",
    "dvc exp run -S finetune.arm=swin_unet_dual",
    "dvc exp run --queue -S finetune.seed=1 && dvc exp run --queue",
    "dvc exp show --only-changed",
    "dvc metrics diff",
    "dvc plots show",
    "dvc plots diff",
    "dvc exp run -S finetune.recipe.classification.labels=multi_label",
    "eocontrast plan",
    "eocontrast audit",
    "dvc exp run -S data.pretrain=manifest",
    "eocontrast predict",
    "eocontrast embed",
    "cp $(find mlartifacts",
    "MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow models predict",
)
"""How the README's commands begin that `test_pipeline.py` runs, and `test_mlflow_ui.py` the first.

`.ci/run` runs pip and pytest.
"""

OTHERS = {"cp", "export", "find", "git", "pip", "pre-commit", "pytest", "source", "uv", "xargs"}
"""Programs whose options are not checked."""

INLINE = re.compile(r"`((?:dvc|eocontrast|mlflow|torchrun|dask|python) [a-z][^`]*)`")


def told(page: str) -> list[str]:
    """All commands of a page: blocks, batch scripts, and those within a line."""
    scripts = "\n".join(fenced(page, "bash")).replace("\\\n", " ")
    starts = ("srun ", "dvc ", "source ")
    batch = [line for line in scripts.splitlines() if line.startswith(starts)]
    named = INLINE.findall(re.sub(r"\s+", " ", prose(page)))
    # a bare name of a command is no call of it
    return [*commands(page), *batch, *(line for line in named if len(line.split()) > 2)]


def parts(line: str) -> list[list[str]]:
    """Words of each command of a line, without variables that are set before it."""
    lines = [shlex.split(part) for part in line.removeprefix("srun ").split(" && ")]
    return [[w for n, w in enumerate(words) if n or "=" not in w] for words in lines]


def understood(words: list[str]) -> None:
    """The program knows the command and its options; scripts are there."""
    program, arguments = words[0], words[1:]
    match program:
        case "dvc":
            from dvc.cli import DvcParserError
            from dvc.cli.parser import get_main_parser

            with suppress(DvcParserError):
                get_main_parser().parse_args(arguments)
                return
            pytest.fail(f"dvc does not understand {arguments}")
        case "eocontrast":
            from eocontrast.cli.main import _parser

            _parser().parse_args(arguments)
        case "torchrun":
            from torch.distributed.run import get_args_parser

            assert Path(ROOT, get_args_parser().parse_args(arguments).training_script).exists()
        case "mlflow":
            from mlflow.cli import cli

            context = click.Context(cli)
            # `ui` is another name of `server`
            known = cli.get_command(context, arguments[0])  # type: ignore[no-untyped-call]
            if isinstance(known, click.Group):
                known = known.get_command(context, arguments[1])
            assert {w for w in arguments if w.startswith("--")} <= _options(known)
        case "dask":
            from distributed.cli import dask_scheduler, dask_worker

            of = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[arguments[0]]
            assert {w for w in arguments if w.startswith("--")} <= _options(of)
        case "python" | "python3":
            assert arguments[0] == "-m" or Path(ROOT, arguments[0]).exists()
        case _:
            assert program in OTHERS


def _options(of: object) -> set[str]:
    return {option for param in of.params for option in param.opts}  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow of its own
@pytest.mark.parametrize("page", PAGES)
def test_programs_understand_the_commands_of_a_page(page: str) -> None:
    for line in told(page):
        for words in parts(line):
            try:
                understood(words)
            except SystemExit as error:
                pytest.fail(f"{page} says {line!r}, which ends with {error}")


def test_every_command_of_the_readme_is_run() -> None:
    found = [line for line in commands("README.md") if not line.startswith(("pip ", "cp exp"))]
    assert len(found) == len(RUN_IN_TESTS)
    for line, start in zip(found, RUN_IN_TESTS, strict=True):
        assert line.startswith(start)


def test_what_is_copied_is_there() -> None:
    for page in PAGES:
        for line in commands(page):
            for words in parts(line):
                if words[0] == "cp" and not words[1].startswith("$"):
                    assert Path(ROOT, words[1]).exists()


def test_batch_scripts_are_bash() -> None:
    scripts = fenced("docs/cluster.md", "bash")
    assert scripts
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if "://" not in target and not target.startswith("doi"):
            path, _, anchor = target.partition("#")
            linked = (ROOT / page).parent / path if path else ROOT / page
            assert linked.exists(), target
            assert not anchor or anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)", prose(str(page.relative_to(ROOT))), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_parameters_of_a_page_exist(page: str) -> None:
    params = YAML(typ="safe").load(PARAMS)
    text = (ROOT / page).read_text()
    sections = "|".join(params)
    named = re.findall(rf"`((?:{sections})\.[a-z0-9_.]+)`", text)
    # names of files, as in `pretrain.sbatch`
    named = [key for key in named if not key.endswith((".csv", ".sbatch"))]
    for key in (*named, *re.findall(r"-S '?([\w.]+)=", text)):
        value = params
        for part in key.split("."):
            assert part in value, key
            value = value[part]


def test_the_readme_links_all_pages() -> None:
    text = (ROOT / "README.md").read_text()
    for page in PAGES:
        assert page == "README.md" or f"]({page})" in text
