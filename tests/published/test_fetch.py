"""Downloads of published weights from a server on this machine."""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
import torch
from checkpoints import decur_joint, drawn
from servers import HttpServer
from torch import Tensor

from eocontrast.cli.main import main
from eocontrast.models.reuse import load_backbone
from eocontrast.models.weights import Pretrained
from eocontrast.published.catalogue import Entry, catalogue, entry
from eocontrast.published.convert import convert, joined
from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.weights import fetch_weights, obtain, published_file

SMALL = "rn18_s2_moco"


def saved(state: object) -> bytes:
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content() -> bytes:
    return saved(drawn(entry(SMALL), {}))


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    server = HttpServer({f"/{entry(SMALL).address}": content})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.stop()


@pytest.fixture
def pinned(content: bytes) -> Entry:
    """The entry with the first digits of this file's digest, as publishers give them."""
    return replace(entry(SMALL), sha256=sha256(content).hexdigest()[:8])


def test_cut_download_resumes(
    hub: HttpServer, pinned: Entry, content: bytes, tmp_path: Path
) -> None:
    hub.ends = [len(content) // 2]
    made = fetch_weights(pinned, folder=tmp_path)
    assert hub.sent == len(content)
    assert hub.asked[-1] is not None
    assert made.run["sha256"] == sha256(content).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == [f"{SMALL}.safetensors"]
    backbone = load_backbone(published_file(pinned, tmp_path), "s2")
    assert backbone.input_spec.with_offset is False
    # a second call asks nobody
    asked = len(hub.asked)
    assert obtain(pinned, folder=tmp_path).run == made.run
    assert len(hub.asked) == asked


def test_wrong_file_is_not_kept(hub: HttpServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has sha256 [0-9a-f]{64}, expected 59bfdff9"):
        fetch_weights(entry(SMALL), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_truncated_file_is_not_kept(hub: HttpServer, pinned: Entry, tmp_path: Path) -> None:
    path = f"/{pinned.address}"
    hub.files[path] = hub.files[path][:5000]
    with pytest.raises(UserError, match="has sha256"):
        fetch_weights(pinned, folder=tmp_path)
    assert not list(tmp_path.iterdir())
    unknown = replace(pinned, sha256="unknown")
    with pytest.raises(UserError, match="no checkpoint"):
        fetch_weights(unknown, folder=tmp_path, unverified=True)
    assert not list(tmp_path.iterdir())


def test_unknown_digest_needs_word(hub: HttpServer, pinned: Entry, tmp_path: Path) -> None:
    unknown = replace(pinned, sha256="unknown")
    with pytest.raises(UserError, match="--sha256, or --unverified"):
        fetch_weights(unknown, folder=tmp_path)
    assert not hub.asked
    assert fetch_weights(unknown, folder=tmp_path, unverified=True).trained == ("s2",)


def test_other_digest_in_folder(hub: HttpServer, pinned: Entry, tmp_path: Path) -> None:
    fetch_weights(pinned, folder=tmp_path)
    with pytest.raises(UserError, match="was made of a file with sha256"):
        obtain(pinned, "0" * 64, tmp_path)


def test_command_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["weights"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed for name in catalogue())
    assert "hash unknown" in listed
    assert main(["weights", "fetch", "rn50_s2_moko"]) == 2
    assert "did you mean rn50_s2_moco" in capsys.readouterr().err
    assert main(["weights", "fetch", "olmoearth"]) == 2
    assert "pip install olmoearth-pretrain-minimal" in capsys.readouterr().err
    assert main(["weights", "fetch", "vits16_s2_data2vec"]) == 2
    assert "import-weights FILE --as vits16_s2_data2vec" in capsys.readouterr().err


def test_joint_file_under_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("vits16_s1_decur", "vits16_s2_decur")
    states = [drawn(entry(name), {}, seed) for seed, name in enumerate(names)]
    Path("joint.pth").write_bytes(saved(decur_joint(*states)))
    assert main(["import-weights", "joint.pth", "--as", *names]) == 0
    printed = capsys.readouterr().out
    assert "vits16_decur:" in printed
    assert "s1: vits16_s1_decur" in printed
    parts = [Pretrained.load(published_file(entry(name))) for name in names]
    whole = joined(parts)
    assert whole.trained == ("s1", "s2")
    for sensor, state in zip(("s1", "s2"), states, strict=True):
        tensor = whole.tensors[f"{sensor}.patch_embed.proj.weight"]
        assert torch.equal(tensor, state["patch_embed.proj.weight"])


REFUSED: dict[str, tuple[str, dict[str, Tensor | None], str]] = {
    "other sensor": ("rn18_s2_moco", {"conv1.weight": torch.zeros(64, 2, 7, 7)}, "Sentinel-1"),
    "twelve bands": ("rn18_s2_moco", {"conv1.weight": torch.zeros(64, 12, 7, 7)}, "without B10"),
    "no norm": ("vits16_s2_moco", {"norm.weight": None, "norm.bias": None}, "final_norm=false"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unfit_file(case: str, tmp_path: Path) -> None:
    name, changes, message = REFUSED[case]
    state = {n: t for n, t in {**drawn(entry(name), {}), **changes}.items() if t is not None}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=message) as caught:
        convert(tmp_path / "w.pth", entry(name), "0")
    assert name in str(caught.value)


def test_namespace_names_encoder_file(tmp_path: Path) -> None:
    from argparse import Namespace

    each = entry("vits16_s2_mae")
    torch.save({"model": {}, "args": Namespace(lr=1)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="encoder-only file") as caught:
        convert(tmp_path / "w.pth", each, "0")
    assert each.file in str(caught.value)


def test_croma_is_no_resnet(tmp_path: Path) -> None:
    torch.save({"s1_encoder": {"a": torch.zeros(1)}, "s2_encoder": {}}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"no resnet18 was found.*there are s1_encoder\.a"):
        convert(tmp_path / "w.pth", entry(SMALL), "0")
