import re
from pathlib import Path
from shutil import copy

import pytest

from eocontrast.cli.main import main
from eocontrast.config.params import load_params

SHIPPED = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(copy(SHIPPED, tmp_path / "params.yaml"))


def apply(params: Path, changes: str) -> int:
    file = params.with_name("changes.yaml")
    file.write_text(changes)
    return main(["params", str(file), "--params", str(params)])


def test_changes_keep_comments(params: Path) -> None:
    before = params.read_text().splitlines()
    assert apply(params, "normalise:\n  shard_mib: 512\nfinetune:\n  fraction: 0.5\n") == 0
    changed = load_params(params)
    assert (changed.normalise.shard_mib, changed.finetune.fraction) == (512, 0.5)
    pairs = zip(before, params.read_text().splitlines(), strict=True)
    assert [old for old, new in pairs if old != new] == ["  shard_mib: 64", "  fraction: 1.0"]


def test_last_entry_removed(params: Path) -> None:
    assert load_params(params).label_curve.ensembles
    assert (
        apply(params, "qualitative: {arms: []}\nremove:\n- label_curve.ensembles.ensemble\n") == 0
    )
    assert load_params(params).label_curve.ensembles == {}


def test_entry_replaced(params: Path) -> None:
    """Removed with all its keys, then set."""
    options = "backbones:\n  resnet:\n    options:\n      channels: [8, 8, 16, 16]\n"
    assert apply(params, f"remove:\n- backbones.resnet.options\n{options}") == 0
    assert load_params(params).backbones["resnet"].options == {"channels": [8, 8, 16, 16]}


def test_list_on_one_line_behind_a_comment(params: Path) -> None:
    assert apply(params, "label_curve:\n  more_seeds:  # two\n  - 3\n  - 4\n") == 0
    assert apply(params, "label_curve: {more_seeds: [8, 9]}\n") == 0
    assert load_params(params).label_curve.more_seeds == (8, 9)
    assert "  more_seeds:  # two\n  - 8\n  - 9\n" in params.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("remove:\n- pretrain.runs.byol\n", "removes pretrain.runs.byol.*no such entry"),
        ("remove:\n- precision.high\n", "removes precision.high.*no such entry"),
        ("precision: bf17\n", "precision is 'bf17'"),
        (
            "precison: bf16\n",
            "with .*changes.yaml: precison is no .*you mean precision",
        ),
        ("finetune:\n  fracton: 1.0\n", "finetune.fracton is no parameter; did you mean fraction"),
        ("finetune:\n  fraction: half\n", "fraction is 'half'; expected a valid number$"),
        (
            "pretrain:\n  runs:\n    mma:\n      method: mna\n",
            "method is 'mna'; expected .*'mma'",
        ),
        ("- precision\n", "expected parameters by name"),
        ("precision: [\n", "changes.yaml, line"),
    ],
)
def test_bad_changes(
    params: Path, capsys: pytest.CaptureFixture[str], changes: str, message: str
) -> None:
    before = params.read_bytes()
    assert apply(params, changes) == 2
    assert params.read_bytes() == before
    errors = capsys.readouterr().err
    assert re.search(message, errors), errors
