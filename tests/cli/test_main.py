import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from numpy.typing import NDArray
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.cli.main import main
from eocontrast.config.pretraining import ImportedRun
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, create_backbone
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.files import file_sha256

WriteSource = Callable[..., Path]

BODY = ("--model", "resnet10t", "--option", "channels=[8, 8, 16, 16]", "--sensor", "s2")
INPUT = (
    *("--bands", "B02", "B03", "B04", "--units", "DN", "--valid-range", "0", "10000"),
    *("--pixel", "10", "--offset", "without"),
)
SCALE = ("--scaling", "crop_maximum", "--patch-size", "64")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet18 checkpoint in the published layout."""
    state: dict[str, torch.Tensor] = {}
    for branch, bands in (("backbone1.", 2), ("backbone2.", 13)):
        model = torchvision.models.resnet18()
        model.conv1 = torch.nn.Conv2d(bands, 64, 7, 2, 3, bias=False)
        model.fc = torch.nn.Sequential(
            torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 128)
        )
        state |= {branch + name: tensor for name, tensor in model.state_dict().items()}
    path = tmp_path_factory.mktemp("published") / "checkpoint.pth"
    torch.save({"epoch": 3, "arch": "x", "state_dict": state, "optimizer": {}}, path)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint of a small timm model of three bands."""
    model = create_backbone(Architecture("resnet10t", {"channels": [8, 8, 16, 16]}), 3)
    torch.save(model.state_dict(), tmp_path / "small.pth")
    return tmp_path / "small.pth"


def entries(text: str) -> dict[str, Any]:
    parsed: dict[str, Any] = YAML(typ="safe").load(text)
    return parsed


def test_a_published_checkpoint_becomes_an_init(
    tmp_path: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new/out.safetensors"
    assert main(["import-weights", str(published), "-o", str(out)]) == 0
    printed = entries(capsys.readouterr().out)
    imported = Pretrained.load(out)
    assert (imported.method, imported.trained) == ("imported", SENSORS)
    assert imported.run == {"file": "checkpoint.pth", "sha256": file_sha256(published)}
    ((name, backbone),) = printed["backbones"].items()
    assert backbone == {"name": "resnet18", "options": {}, "scaling": "crop_maximum"}
    run = ImportedRun.model_validate(printed["pretrain"]["runs"][name])
    assert (run.file, run.sha256, run.backbone) == (out, file_sha256(out), name)
    assert [path.name for path in out.parent.iterdir()] == ["out.safetensors"]


def test_any_timm_model_with_statistics_or_without(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    command = ["import-weights", str(small), "-o", str(out), *BODY, *INPUT, "--overwrite"]
    assert main([*command, *SCALE]) == 0
    assert "options:\n      channels:\n      - 8\n" in capsys.readouterr().out  # block style
    (spec,) = Pretrained.load(out).specs.values()
    assert (spec.scaling, spec.patch_size) == ("crop_maximum", 64)
    statistics = ["--scaling", "band_statistics", "--mean", "1", "2", "3", "--sd", "4", "5", "6"]
    assert main([*command, "--patch-size", "64", *statistics]) == 0
    (spec,) = Pretrained.load(out).specs.values()
    assert (spec.mean, spec.sd) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert spec.modality.bands == ("B02", "B03", "B04")


def test_what_is_there_is_kept(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"mine")
    command = ["import-weights", str(small), "-o", str(out), *BODY, *INPUT, *SCALE]
    assert main(command) == 2
    assert "out.safetensors is there already" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    assert main(["import-weights", str(small), "-o", str(small), "--overwrite"]) == 2
    assert "written over itself" in capsys.readouterr().err
    assert main(["import-weights", str(tmp_path / "gone"), "-o", str(out), "--overwrite"]) == 2
    assert "gone cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((*BODY[:-2], *INPUT, *SCALE), "--sensor"),
        ((*BODY, *SCALE), "--bands, --units, --valid-range"),
        ((*BODY, *INPUT), "--scaling, --patch-size"),
        ((*BODY, *INPUT, "--scaling", "band_statistics", "--patch-size", "64"), "needs 3 means"),
        ((*INPUT, *SCALE), "--bands describe a timm model"),
        ((), "unknown layout"),
        (("--model", "resnet19", *BODY[2:], *INPUT, *SCALE), "no model 'resnet19'"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(
    tmp_path: Path,
    small: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    out = tmp_path / "out.safetensors"
    assert main(["import-weights", str(small), "-o", str(out), *arguments]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.startswith("eocontrast import-weights: ")
    assert printed.out == ""
    assert not out.exists()


class Code:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def test_code_in_a_checkpoint_is_refused_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"state_dict": Code(tmp_path / "trace")}, file)
    assert main(["import-weights", str(file), "-o", str(tmp_path / "out")]) == 2
    assert "not executed" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_an_audit_of_sound_pairs_says_so(
    write_source: WriteSource, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_source()
    before = sorted(raw.rglob("*"))
    assert main(["audit", str(raw), "--no-shift"]) == 0
    assert capsys.readouterr().out.endswith("audit: nothing is wrong with the 12 patches\n")
    assert main(["audit", str(raw / "manifest.csv"), "--no-shift"]) == 0
    assert sorted(raw.rglob("*")) == before


def test_an_audit_that_finds_errors_lists_them_and_fails(
    write_source: WriteSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shade(place: int, s1: NDArray[Any], s2: NDArray[Any]) -> None:
        s2[:, 0] = 150  # ground as dark as values without an offset of 1000 have

    raw, out = write_source(edit=shade), tmp_path / "audit.json"
    for place in (3, 8):
        (raw / f"s2/{place}.tif").unlink()
    assert main(["audit", str(raw), "-o", str(out)]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"unreadable +error +2 +p003, p008", printed)
    assert printed.splitlines()[-1] == "audit: of 12 patches 2 cannot be used, 0 have a warning"
    assert [f["id"] for f in json.loads(out.read_text())["findings"]] == ["p003", "p008"]


def test_an_audit_loses_no_file(
    write_source: WriteSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = write_source(), tmp_path / "audit.json"
    out.write_text("mine")
    assert main(["audit", str(raw), "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["audit", str(raw), "-o", str(out), "--overwrite"]) == 0
    assert json.loads(out.read_text())["patches"] == 12


def test_a_table_of_pairs_is_audited_as_params_declare_it(
    write_source: WriteSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = write_source(labels=[-1] * 6)
    (raw / "source.json").unlink()
    yaml = YAML()
    params = yaml.load(PARAMS)
    four = {"bands": ["B02", "B03", "B04", "B08"], "units": "DN", "valid_range": [0, 10000]}
    params["sources"]["manifest"]["s2"] = four
    yaml.dump(params, tmp_path / "params.yaml")
    (raw / "s1/4.tif").write_text("no raster")
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "raw/manifest.csv", "--no-shift"]) == 1
    assert re.search(r"unreadable +error +1 +p004", capsys.readouterr().out)


def test_an_audit_of_nothing_says_what_is_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tmp_path)]) == 2
    assert "dvc repro download" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "no.csv")]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\nfrom eocontrast.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.search(r"import-weights\s+make a weight file", done.stdout)


@pytest.fixture
def curve(tmp_path: Path) -> Path:
    """A label curve of two arms, one from labels alone, in a CSV."""
    rows = [
        f"crops,{arm},{init},{n},{seed},F1,{top - n**-0.5 + 0.01 * seed:.4f}"
        for arm, init, top in (("base", "random", 0.7), ("quick", "mma", 0.8))
        for n in (10, 50, 200, 800)
        for seed in range(2)
    ]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["task,arm,init,n_labels,seed,metric,value", *rows]))
    return path


def test_a_plan_of_ones_own_curve_is_told_and_drawn(
    curve: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.png"
    command = ["plan", "--target", "0.65", "--from-csv", str(curve)]
    assert main([*command, "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "seeds alone" in printed
    assert re.search(r"^quick +\d+ \(\d+ to \d+\) +\S", printed, re.MULTILINE)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--json", "--arm", "quick"]) == 0
    ((arm,),) = [task["arms"] for task in json.loads(capsys.readouterr().out)]
    assert (arm["arm"], arm["reach"]) == ("quick", "measured")
    labels = arm["labels_needed"]
    assert labels["low"] < 0.15**-2 < labels["high"]


def test_a_plan_loses_no_file_and_names_a_mistake(
    curve: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plan.png"
    out.write_text("mine")
    command = ["plan", "--from-csv", str(curve), "-o", str(out), "--target"]
    assert main([*command, "0.65"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*command, "65", "--overwrite"]) == 2
    assert "no score between 0 and 1" in capsys.readouterr().err
    curve.write_text(curve.read_text().replace("0.3", "high", 1))
    assert main([*command, "0.65", "--overwrite"]) == 2
    assert re.search(r"mine\.csv, line \d+, column value: 'high", capsys.readouterr().err)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("out", ["/proc/x.png", "mine.csv/x.png", "x" * 300 + ".png"])
def test_a_plan_that_cannot_be_written_is_told(
    curve: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(curve.parent / out)
    assert main(["plan", "--target", "0.65", "--from-csv", str(curve), "-o", place]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"eocontrast plan: {place} cannot be written (")
    assert said.count("\n") == 1


def test_a_plan_does_not_wait_for_torch(curve: Path) -> None:
    code = (
        "import sys\nfrom eocontrast.cli.main import main\n"
        f"code = main(['plan', '--target', '.65', '--from-csv', {str(curve)!r}])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_error(curve: Path, unbuffered: str) -> None:
    """As `| head` goes, before all is written."""
    command = ["plan", "--target", "0.65", "--from-csv", str(curve)]
    code = f"import sys; from eocontrast.cli.main import main; sys.exit(main({command!r}))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_an_error(curve: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*told: object) -> None:
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr("eocontrast.curve.plan_report.plan_tables", broken)
    with pytest.raises(BrokenPipeError, match="of a worker"):
        main(["plan", "--target", "0.65", "--from-csv", str(curve)])


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eocontrast.cli.audit.audit", interrupted)
    assert main(["audit", "nowhere"]) == 130
    assert capsys.readouterr().err == "eocontrast audit: stopped; nothing is left half\n"


def test_model_after_open_list(capsys: pytest.CaptureFixture[str]) -> None:
    """`--fill-bands B10 MODEL` once took the model for a band."""
    words = ["predict", "--s2", "S2.tif", "-o", "map.tif", "--fill-bands", "B10", "no.safetensors"]
    assert main(words) == 2
    assert "no.safetensors" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"eocontrast \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_module_passes_the_exit_code_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eocontrast.cli", "audit", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "nowhere: no such file or folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pedict",), "did you mean predict?"),
        (("start", "--labels", "a.gpkg", "--class-columm", "crop"), "did you mean --class-column?"),
        (("weights", "fech", "rn50_s1_moco"), "did you mean fetch?"),
        (("map", "--s2", "S2.tif", "--labels", "a.gpkg", "-o", "m.tif", "--steps", "0"), "--steps"),
        (("plan", "--target", "0.5", "-o", "plan.jpg"), "end it in .png"),
        (("params", "gone.yaml", "--params", "gone.yaml"), "gone.yaml: no such file"),
    ],
)
def test_typing_mistakes_are_named(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with suppress(SystemExit):
        assert main(arguments) == 2
    assert said in capsys.readouterr().err
