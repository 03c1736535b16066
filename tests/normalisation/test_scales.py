"""Values on another scale than declared, as the audit of a data set finds them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from raster_files import write_raster

from eocontrast.modalities import SENTINEL1, Modality, Sensor
from eocontrast.normalisation.audit import Finding
from eocontrast.normalisation.build import audit_source
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.rasters.values import Declared

SIDE = 24
S2 = Modality(("B02", "B04", "B08"), "DN", (0, 10000))


def wood(number: int) -> dict[Sensor, NDArray[np.floating]]:
    """Draw a forest beside a lake."""
    rng = np.random.default_rng(number)
    trees = np.arange(SIDE)[:, None] + np.zeros(SIDE) > rng.integers(4, 12)
    s1 = np.where(trees, [[[-8.0]], [[-14.0]]], [[[-20.0]], [[-27.0]]])
    s2 = np.where(trees, [[[280.0]], [[330.0]], [[3000.0]]], [[[300.0]], [[180.0]], [[90.0]]])
    return {
        "s1": (s1 + rng.normal(0, 1.5, s1.shape)).astype(np.float32),
        "s2": (s2 * rng.normal(1, 0.08, s2.shape)).round(),
    }


def source(folder: Path, factor: dict[Sensor, float], wrong: int = 6, patches: int = 6) -> Source:
    """Write pairs of which the first `wrong` are multiplied."""
    rows = []
    for number in range(patches):
        for sensor, values in wood(number).items():
            if number < wrong:
                values = values * factor.get(sensor, 1.0)
            values = values.astype(np.float32 if sensor == "s1" else np.uint16)
            write_raster(folder / f"{sensor}_{number}.tif", values)
        rows.append((f"p{number}", f"s1_{number}.tif", f"s2_{number}.tif", "", f"g{number}", ""))
    files: dict[Sensor, Declared] = {"s1": Declared(), "s2": Declared()}
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Source(SENTINEL1, S2, {}, {}, table, rasters=folder, files=files)


def audited(pairs: Source) -> list[Finding]:
    findings, _ = audit_source(pairs, check_shift=False, workers=1)
    return [found for found in findings if found.rule in ("scale", "bands", "undeclared_fill")]


@pytest.mark.parametrize(
    ("sensor", "factor", "severity", "said"),
    [
        ("s1", 1.0, None, ""),
        ("s1", np.log(10) / 10, "error", "natural logarithm of the power"),
        ("s1", 0.1, "error", "to base 10"),
        ("s1", 0.5, "warning", "half of the right decibels"),
        ("s1", 2.0, "warning", "twice the right decibels"),
        ("s2", 0.1, "warning", "a tenth of 10,000 x reflectance"),
        ("s2", 0.2, "warning", "too dark"),
        ("s2", 5.0, "warning", "too bright"),
    ],
)
def test_scale_of_all_patches(
    tmp_path: Path, sensor: Sensor, factor: float, severity: str | None, said: str
) -> None:
    pairs = source(tmp_path, {sensor: factor})
    findings = audited(pairs)
    assert [found.severity for found in findings] == [severity] * 6 if severity else not findings
    assert all(found.rule == "scale" and said in found.message for found in findings)
    # files of published archives are known, so that nothing is refused
    assert all(found.severity == "warning" for found in audited(replace(pairs, files={})))


@pytest.mark.parametrize(("wrong", "named"), [(1, 0), (2, 2), (4, 4)])
def test_some_patches_have_another_scale(tmp_path: Path, wrong: int, named: int) -> None:
    findings = audited(source(tmp_path, {"s2": 0.1}, wrong))
    assert [found.id for found in findings] == [f"p{number}" for number in range(named)]
    assert all(f"{wrong} of 6 patches" in found.message for found in findings)


def test_polarisations_that_changed_places(tmp_path: Path) -> None:
    pairs = source(tmp_path, {})
    turned = replace(pairs, s1=replace(SENTINEL1, bands=("VH", "VV")))
    findings = audited(turned)
    assert [(found.rule, found.severity) for found in findings] == [("bands", "error")] * 6
    assert "changed places" in findings[0].message


@pytest.mark.parametrize("turned", [1, 2, 3])
def test_some_patches_have_another_order(tmp_path: Path, turned: int) -> None:
    pairs = source(tmp_path, {})
    for number in range(turned):
        write_raster(tmp_path / f"s1_{number}.tif", wood(number)["s1"][::-1])
    findings = audited(pairs)
    assert [(found.rule, found.severity) for found in findings] == [("bands", "warning")] * turned
    assert f"s1 in {turned} of 6 patches: cross-polarisation is stronger" in findings[0].message


@pytest.mark.parametrize("fill", [1000, 255, 4321])
def test_undeclared_fill_is_cured_by_nodata(tmp_path: Path, fill: int) -> None:
    pairs = source(tmp_path, {})
    values = wood(0)["s2"].astype(np.uint16)
    values[:, :, :6] = fill
    path = write_raster(tmp_path / "s2_0.tif", values)
    (finding,) = audited(pairs)
    assert (finding.id, finding.rule, finding.severity) == ("p0", "undeclared_fill", "warning")
    assert f"exactly {fill} in all bands in 25.0% of the pixels" in finding.message
    declared = replace(pairs, files={"s1": Declared(), "s2": Declared(nodata=(fill,))})
    assert audited(declared) == []
    read = read_raster(path, S2, declared.declared("s2")).values
    np.testing.assert_array_equal(read, np.where(values == fill, np.nan, values))
