"""Everything that reads what people hand in, by name, with a small file that it takes."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from shipped import PARAMS

from eocontrast.config.params import load_params
from eocontrast.curve.plan_arms import read_arms
from eocontrast.models.point_files import INDEX, read_index
from eocontrast.models.weight_files import save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.published.checkpoints import read_checkpoint
from eocontrast.rasters.source import read_source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.archives import unpack
from eocontrast.sources.manifest_table import check_table, read_table
from eocontrast.sources.official_splits import read_list

ROOT = Path(__file__).parents[1]
MANIFEST = b"id,s1,s2,label,group,split\na,b,c,d,e,\n"


@dataclass(frozen=True)
class Parser:
    """What reads a file, under which name the file lies, and one that it takes."""

    read: Callable[[Path], object]
    name: str
    valid: bytes


def _table(path: Path) -> None:
    check_table(path, read_table(path))


def _unpacked(path: Path) -> None:
    with TemporaryDirectory(dir=path.parent) as folder:
        inside = Path(folder, "inside")
        try:
            unpack(path, inside)
        finally:
            assert [p.name for p in Path(folder).iterdir()] == ["inside"]


def _source(path: Path) -> None:
    path.with_name("manifest.csv").write_bytes(MANIFEST)
    read_source(path.parent)


def _tar() -> bytes:
    with tarfile.open(fileobj=(content := io.BytesIO()), mode="w:gz") as archive:
        info = tarfile.TarInfo("a/b.tif")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return content.getvalue()


def _zip() -> bytes:
    with zipfile.ZipFile(content := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.tif", "abc")
    return content.getvalue()


def _weights() -> bytes:
    header: dict[str, object] = {
        "method": "random",
        "architecture": {"name": "resnet10t", "options": {}},
    }
    rest = {"inputs": {}, "data_digest": "abc", "run": {}, "patches": 0, "health": {}, "data": {}}
    return written_weights(header | rest)


def written_weights(header: dict[str, object]) -> bytes:
    """A file of ours without tensors."""
    with TemporaryDirectory() as folder:
        save_weights(Path(folder, "w"), {}, header)
        return Path(folder, "w").read_bytes()


def _checkpoint(zipped: bool) -> bytes:
    torch.save({"a": torch.ones(2)}, content := io.BytesIO(), _use_new_zipfile_serialization=zipped)
    return content.getvalue()


def _declaration() -> bytes:
    band = {"bands": ["A"], "units": "DN", "valid_range": [0, 1]}
    told = {"s1": band, "s2": band, "classes": {}, "palette": {}, "rasters": None}
    return json.dumps(told).encode()


CURVE = b"task,arm,n_labels,seed,metric,value\n" + b"".join(
    b"crops,mine,%d,0,F1,.5\n" % n for n in (10, 20, 40)
)
PAIRS = b"id,s1,s2,label,group,split\na,a.tif,b_{band}.tif,x|y,north,train\nb,c,d,,,\n"

PARSERS = {
    "params": Parser(load_params, "params.yaml", PARAMS.read_bytes()),
    "manifest": Parser(_table, "pairs.csv", PAIRS),
    "curve": Parser(lambda path: read_arms(path, 5), "curve.csv", CURVE),
    "splits": Parser(
        lambda path: read_list(path, "splits"), "test.csv", b"ROIs0000_test_s2_0_p12.tif,x\n"
    ),
    "weights": Parser(Pretrained.load, "w.safetensors", _weights()),
    "checkpoint": Parser(read_checkpoint, "w.pth", _checkpoint(zipped=True)),
    "old checkpoint": Parser(read_checkpoint, "w.pth", _checkpoint(zipped=False)),
    "tar": Parser(_unpacked, "a.tar.gz", _tar()),
    "zip": Parser(_unpacked, "a.zip", _zip()),
    "points": Parser(
        lambda path: read_index(path.parent), INDEX, b'{"points": ["a"], "left_out": {"1": "few"}}'
    ),
    "source": Parser(_source, "source.json", _declaration()),
}


def said_of(parser: Parser, content: bytes, folder: Path) -> str | None:
    """What the parser says against a file; None where it takes it. All else is a defect."""
    path = folder / parser.name
    path.write_bytes(content)
    try:
        parser.read(path)
    except UserError as error:
        return str(error)
    return None
