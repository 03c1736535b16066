"""Hostile rasters, manifests and weights, which must not open other files or addresses.

Archives and pickles are tested with their readers.
"""

from __future__ import annotations

import json
import os
import struct
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from parsers import written_weights
from rasterio.errors import NotGeoreferencedWarning
from safetensors.torch import save
from servers import HttpServer
from shipped import NO_LABELS

from eocontrast.cli.main import main
from eocontrast.config.sources import ManifestParams, ModalityParams
from eocontrast.models.weight_files import load_weights, save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.published.checkpoints import read_checkpoint
from eocontrast.rasters.open import open_raster
from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.archives import unpack
from eocontrast.sources.manifest import describe, fetch

WriteModel = Callable[..., Path]

SECRET = b"secret" * 100


class Watched(HttpServer):
    """A server that counts connections."""

    connections = 0

    def process_request(self, *arguments: Any) -> None:  # noqa: ANN401 - as socketserver has it
        self.connections += 1
        super().process_request(*arguments)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server that must not get a connection."""
    server = Watched({"/secret.tif": SECRET})
    yield server
    server.stop()
    assert server.connections == 0


def vrt(source: str) -> str:
    return (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{source}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )


def warped(source: str) -> str:
    return (
        '<VRTDataset rasterXSize="8" rasterYSize="8" subClass="VRTWarpedDataset"><GDALWarpOptions>'
        f"<SourceDataset>{source}</SourceDataset></GDALWarpOptions></VRTDataset>"
    )


def script(source: str) -> str:
    """Return a VRT that would run Python."""
    return (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRTDerivedRasterBand"><PixelFunctionLanguage>Python</PixelFunctionLanguage>'
        f"<PixelFunctionCode>open('{source}')</PixelFunctionCode></VRTRasterBand></VRTDataset>"
    )


def wms(source: str) -> str:
    return (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{source}/${{z}}</ServerUrl></Service>'
        "<DataWindow><SizeX>8</SizeX><SizeY>8</SizeY></DataWindow></GDAL_WMS>"
    )


def gti(source: str) -> str:
    return f"<GDALTileIndexDataset><IndexDataset>{source}</IndexDataset></GDALTileIndexDataset>"


def stac(source: str) -> str:
    return json.dumps({"stac_version": "1.0.0", "assets": {"a": {"href": source}}})


CONTENTS = {made.__name__: made for made in (vrt, warped, script, wms, gti, stac)}


@pytest.mark.parametrize("made", CONTENTS.values(), ids=list(CONTENTS))
@pytest.mark.parametrize("where", ["network", "disk"])
@pytest.mark.parametrize("name", ["a.tif", "a.vrt"])
def test_raster_reference_is_not_followed(
    server: HttpServer, tmp_path: Path, made: Callable[[str], str], where: str, name: str
) -> None:
    secret = tmp_path / "secret.tif"
    secret.write_bytes(SECRET)
    network = f"/vsicurl/{server.url}/secret.tif"
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / name
    path.write_text(made(network if where == "network" else str(secret)))
    expected = "GTiff" if name == "a.tif" else "VRT: it "
    with pytest.raises(UserError, match=rf"{name} cannot be read as {expected}") as caught:
        open_raster(path)
    assert "\n" not in str(caught.value)


def test_vrt_with_entities_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]>' + vrt("a.tif")
    (tmp_path / "a.vrt").write_text(bomb)
    with pytest.raises(UserError, match=r"a\.vrt cannot be read as VRT: it defines entities"):
        open_raster(tmp_path / "a.vrt")


def remote(server: HttpServer) -> list[str]:
    address = f"{server.url}/secret.tif"
    return [
        address,
        f"/vsicurl/{address}",
        f"/vsicurl_streaming/{address}",
        f"/vsizip//vsicurl/{address}/a.tif",
        f"/vsigzip//vsicurl/{address}",
        f"zip+{address}",
        f"GTIFF_DIR:1:/vsicurl/{address}",
        f'NETCDF:"/vsicurl/{address}":a',
        f"HDF5:/vsicurl/{address}://a",
        f"WMS:{address}",
        f"vrt://{address}",
        "/vsis3/bucket/a.tif",
        "/vsistdin/",
        "/vsimem/a.tif",
        vrt(address),
    ]


@pytest.mark.parametrize("number", range(15))
@pytest.mark.parametrize("column", ["s1", "s2", "label"])
def test_manifest_names_files_only(
    server: HttpServer, tmp_path: Path, number: int, column: str
) -> None:
    cells = {"id": "a", "s1": "a.tif", "s2": "a.tif", "label": "x"}
    quoted = remote(server)[number].replace('"', '""')
    cells[column] = f'"{quoted}"'
    path = tmp_path / "pairs.csv"
    path.write_text("id,s1,s2,label\n" + ",".join(cells.values()) + "\n")
    band = ModalityParams(bands=("A",), units="DN", valid_range=(0, 255))
    params = ManifestParams(path=path, s1=band, s2=band, classes={"x": 1}, labels=NO_LABELS)
    with pytest.raises(UserError, match=rf"pairs\.csv, row 2, id 'a', column ({column}|s2)"):
        fetch(tmp_path, params)
    if column != "label" and "://" in cells[column]:
        with pytest.raises(UserError, match=r"is not a file on this machine's disks"):
            describe(params)


@pytest.mark.parametrize("number", range(15))
def test_scene_must_be_a_file(
    server: HttpServer,
    tiny_store: PatchStore,
    tmp_path: Path,
    write_model: WriteModel,
    number: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = write_model(tiny_store)
    named = remote(server)[number]
    out = tmp_path / "map.tif"
    assert main(["predict", str(model), "--s1", named, "--s2", named, "-o", str(out)]) == 2
    assert "no such file" in capsys.readouterr().err
    assert not out.exists()


def erdas(path: Path) -> None:
    """Write an Erdas raster with its pixels in `<stem>.ige`."""
    form = {"driver": "HFA", "count": 1, "height": 64, "width": 64, "dtype": "uint8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", USE_SPILL="YES", **form) as raster:
            raster.write(np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64))


def test_erdas_pixels_elsewhere_are_refused(tmp_path: Path) -> None:
    erdas(tmp_path / "mine.img")
    with open_raster(tmp_path / "mine.img") as raster:
        assert raster.read(1)[0, 5] == 5
    erdas(tmp_path / "abcd.img")
    content = (tmp_path / "abcd.img").read_bytes()
    assert b"abcd.ige" in content
    (tmp_path / "abcd.img").write_bytes(content.replace(b"abcd.ige", b"mine.ige"))
    with pytest.raises(UserError, match=r"abcd\.img takes its pixels from .*mine\.ige"):
        open_raster(tmp_path / "abcd.img")


# --- weights


def headed(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def tensor(**fields: object) -> bytes:
    fields = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **fields}
    return headed(json.dumps({"a": fields}).encode())


ABSURD: dict[str, bytes] = {
    "header longer than memory": headed(b"{}", 2**63),
    "header longer than the file": headed(b"{}", 2**20),
    "negative length": headed(b"{}", 2**64 - 1),
    "no header": b"",
    "half a length": b"\x02\x00",
    "no JSON": headed(b"{" + b"[" * 100),
    "deep JSON": headed(b'{"a":' + b"[" * 100_000),
    "not UTF-8": headed(b'{"\xff": 1}'),
    "list": headed(b"[]"),
    "offsets beyond the file": tensor(data_offsets=[0, 2**40], shape=[2**38]),
    "offsets backwards": tensor(data_offsets=[4, 0]),
    "shape that overflows": tensor(shape=[2**62, 2**62]),
    "negative shape": tensor(shape=[-1]),
    "unknown type": tensor(dtype="F999"),
    "shape of another size": tensor(shape=[7]),
    "metadata that is no text": headed(b'{"__metadata__": {"eocontrast": 1}}'),
    "our header is no JSON": save({}, {"eocontrast": "{"}),
    "our header is deep": save({}, {"eocontrast": "[" * 100_000}),
    "our header is a list": save({}, {"eocontrast": "[1]"}),
    "our header has no digest": save({}, {"eocontrast": "{}"}),
    "our header is empty": written_weights({}),
    "our header has no inputs": written_weights({"method": "random"}),
    "our header has odd inputs": written_weights(
        {"method": "random", "inputs": 3, "architecture": []}
    ),
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("content", ABSURD.values(), ids=list(ABSURD))
def test_absurd_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    for read in (Pretrained.load, read_checkpoint):
        with pytest.raises(UserError) as caught:
            read(path)
        assert "w.safetensors" in str(caught.value)
        assert len(str(caught.value)) < 800


# --- names


NAMES = ["a b", "it's", 'say "x"', "a;touch pwned", "$(touch pwned)", "`touch pwned`", "äöü", "-rf"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_harmless(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    save_weights(folder / f"{name}.safetensors", {}, {"a": name})
    assert load_weights(folder / f"{name}.safetensors") == ({}, {"a": name})
    with tarfile.open(folder / f"{name}.tar", "w") as archive:
        archive.add(folder / f"{name}.safetensors", f"{name}/x")
    unpack(folder / f"{name}.tar", tmp_path / "out")
    assert (tmp_path / "out" / name / "x").is_file()
    assert not list(tmp_path.rglob("pwned"))


def test_files_respect_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        save_weights(tmp_path / "deep/w.safetensors", {}, {})
    finally:
        os.umask(before)
    for path in (tmp_path / "deep", tmp_path / "deep/w.safetensors"):
        assert path.stat().st_mode & 0o077 == 0
