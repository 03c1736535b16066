import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray

from eocontrast.modalities import SENSORS, Modality, Sensor
from eocontrast.normalisation import build as normalisation
from eocontrast.normalisation import shards
from eocontrast.normalisation.build import build_store
from eocontrast.normalisation.moments import band_sums, mean_and_sd
from eocontrast.normalisation.pairs import Patch, StoreBands, read_pair
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import Source, read_source
from eocontrast.runtime.errors import UserError

Raster = NDArray[Any]
Edit = Callable[[int, Raster, Raster], tuple[Raster, Raster] | None]
WriteSource = Callable[..., Path]

SPLITS = ["pretrain"] * 3 + ["train"] * 6 + ["test"] * 3


def build(
    raw: Path,
    name: str = "store",
    *,
    test_fraction: float = 0.3,
    shard_mib: int = 1,
    max_bad_fraction: float = 0,
    check_shift: bool = False,
    workers: int = 2,
) -> PatchStore:
    build_store(
        raw,
        raw.parent / name,
        raw.parent / f"{name}.audit.json",
        seed=0,
        test_fraction=test_fraction,
        shard_mib=shard_mib,
        max_bad_fraction=max_bad_fraction,
        check_shift=check_shift,
        workers=workers,
    )
    return PatchStore(raw.parent / name)


def everything(store: PatchStore) -> dict[Sensor, NDArray[np.integer]]:
    rows = np.arange(len(store.index))
    return {sensor: store.read(sensor, rows) for sensor in SENSORS}


# --- band statistics


DECIBEL = Modality(("A", "B"), "dB", (-300.0, 300.0))
DIGITAL = Modality(("A", "B"), "DN", (0.0, 65534.0))


@pytest.mark.parametrize("modality", [DECIBEL, DIGITAL], ids=["dB", "DN"])
@pytest.mark.parametrize("patches", [1, 3])
def test_band_statistics_are_numpys(modality: Modality, patches: int) -> None:
    low, high = (int(limit / modality.storage.step) for limit in modality.valid_range)
    stored = np.random.default_rng(0).integers(low, high, (patches, 2, 30, 40), endpoint=True)
    stored = stored.astype(modality.storage.dtype)
    stored[..., ::7] = modality.storage.nodata
    total = np.zeros((3, 2), dtype=object)
    for patch in stored:
        total += band_sums(modality, patch)
    values = modality.decode(stored).astype(np.float64)
    mean, sd = mean_and_sd(total, modality.storage.step)
    assert total[0].tolist() == [np.isfinite(values[:, band]).sum() for band in range(2)]
    np.testing.assert_allclose(mean, np.nanmean(values, axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(sd, np.nanstd(values, axis=(0, 2, 3)), rtol=1e-6)


def test_band_sums_are_exact() -> None:
    stored = np.random.default_rng(0).integers(0, 65534, (2, 40, 41), np.uint16)
    sums = band_sums(DIGITAL, stored)
    for band, values in enumerate(stored.reshape(2, -1).tolist()):
        assert sums[:, band].tolist() == [1640, sum(values), sum(value**2 for value in values)]


def test_constant_band_has_no_deviation() -> None:
    """The sum of squares, 1.3e16, is beyond the integers that float64 holds."""
    sums = band_sums(DIGITAL, np.full((2, 1000, 3001), 65_533, np.uint16))
    assert mean_and_sd(sums.astype(object), 1.0) == ([65_533.0] * 2, [0.0] * 2)


def test_sums_exceed_64_bits() -> None:
    sums = np.array([[10**12] * 2, [65_534 * 10**12] * 2, [65_534**2 * 10**12] * 2], dtype=object)
    assert mean_and_sd(sums, 1.0) == ([65_534.0] * 2, [0.0] * 2)


def test_limits_between_steps_are_rounded() -> None:
    between = Modality(("A",), "dB", (-0.012, 0.018))
    sums = band_sums(between, np.array([[[-5, 5, 0, -32768]]], np.int16))
    assert sums.tolist() == [[3], [1], [5]]


# --- what the store holds


def retyped(path: Path, dtype: str) -> None:
    """The same values in a raster of another type."""
    with rasterio.open(path) as raster:
        profile, values = raster.profile, raster.read()
    with rasterio.open(path, "w", **{**profile, "dtype": dtype}) as raster:
        raster.write(values.astype(dtype))


def test_wider_types_hold_the_same(write_source: WriteSource) -> None:
    """DFC2020 goes round with S1 as float64 and masks as int32."""
    raw = write_source(splits=SPLITS, masks=True)
    expected = build(raw, "expected")
    for kind, dtype in (("s1", "float64"), ("label", "int32"), ("s2", "int32")):
        for path in (raw / kind).iterdir():
            retyped(path, dtype)
    store = build(raw)
    assert store.digest == expected.digest
    np.testing.assert_array_equal(
        store.masks(store.rows("train")), expected.masks(store.rows("train"))
    )


def test_a_store_of_twelve_bands_is_no_store_of_thirteen(write_source: WriteSource) -> None:
    """A model takes its bands by name; the one that lacks is named, with what can be done."""
    raw = write_source(splits=SPLITS)
    store = build(raw)
    have = store.specs["s2"]
    bands = ("B04", "B10", "B02")
    wanted = InputSpec(replace(have.modality, bands=bands), (1.0,) * 3, (1.0,) * 3, 16)
    with pytest.raises(
        UserError, match=r"lack B10; .*: pretrain without B10 .*drop_bands.*fill_bands"
    ):
        store.batch(np.arange(2), {"s2": wanted})
    without = have.select(("B04", "B02"))
    places = [have.modality.bands.index(band) for band in without.modality.bands]
    found = store.batch(np.arange(2), {"s2": without})["s2"].numpy()
    np.testing.assert_array_equal(found, store.read("s2", np.arange(2))[:, places])


def test_the_store_gives_back_what_was_encoded(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS)
    store = build(raw)
    found = everything(store)
    for place in range(12):
        for sensor in SENSORS:
            modality = store.specs[sensor].modality
            expected = modality.encode(read_raster(raw / sensor / f"{place}.tif", modality).values)
            np.testing.assert_array_equal(found[sensor][place], expected)


def test_the_index_says_what_the_manifest_says(write_source: WriteSource) -> None:
    labels = [-1, 0, 1, 2] * 3
    store = build(write_source(labels=labels, splits=SPLITS))
    manifest = pd.read_csv(store.folder.parent / "raw/manifest.csv")
    for column in ("id", "group", "split"):
        assert list(store.index[column]) == list(manifest[column])
    assert store.labels.tolist() == labels
    assert store.classes == ("Forest", "Urban", "Water")
    assert (store.index["valid"] == 1).all()


def test_mask_rasters_become_labels_and_shares(write_source: WriteSource) -> None:
    store = build(write_source(splits=SPLITS, masks=True))
    assert store.labels.tolist() == [0, 1, 2] * 4
    shares = store.index[["share_0", "share_1", "share_2"]].to_numpy()
    np.testing.assert_allclose(shares, np.tile(np.eye(3), (4, 1)) * 15 / 16)
    stored = np.load(store.folder / "label/00000.npy")
    assert (stored[:, 0] == 255).all()
    np.testing.assert_array_equal(
        stored[:, 1:], np.tile([0, 1, 2], 4)[:, None, None] + 0 * stored[:, 1:]
    )


def test_counts_are_by_split(write_source: WriteSource, tmp_path: Path) -> None:
    raw = write_source(splits=SPLITS)
    counts = build_store(
        raw,
        tmp_path / "s",
        tmp_path / "audit.json",
        seed=0,
        test_fraction=0,
        shard_mib=1,
        max_bad_fraction=0,
        check_shift=False,
    )
    assert counts == {"pretrain": 3, "test": 3, "train": 6, "quarantined": 0}


def test_groups_without_a_split_get_one(write_source: WriteSource) -> None:
    store = build(write_source(labels=[-1] * 3 + [0, 1, 2] * 4), test_fraction=0.25)
    assert store.index["split"].value_counts().to_dict() == {"train": 9, "pretrain": 3, "test": 3}
    assert (store.index.groupby("group")["split"].nunique() == 1).all()


# --- statistics


def stored_stats(store: PatchStore) -> dict[str, Any]:
    return {sensor: (store.specs[sensor].mean, store.specs[sensor].sd) for sensor in SENSORS}


def test_statistics_are_those_of_all_pixels_outside_the_test_split(
    write_source: WriteSource,
) -> None:
    store = build(write_source(splits=SPLITS))
    for sensor in SENSORS:
        spec = store.specs[sensor]
        values = spec.modality.decode(store.read(sensor, store.rows("pretrain", "train")))
        values = np.clip(values, *spec.modality.valid_range).astype(np.float64)
        np.testing.assert_allclose(spec.mean, values.mean((0, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(spec.sd, values.std((0, 2, 3)), rtol=1e-5)


def brighter(*places: int) -> Edit:
    def edit(place: int, s1: Raster, s2: Raster) -> None:
        if place in places:
            s1 += 5
            s2 += 700

    return edit


def test_test_patches_do_not_move_the_statistics(write_source: WriteSource) -> None:
    before = build(write_source(splits=SPLITS))
    after = build(write_source("other", splits=SPLITS, edit=brighter(9, 10, 11)), "after")
    assert stored_stats(before) == stored_stats(after)
    assert before.digest != after.digest
    seen = build(write_source("seen", splits=SPLITS, edit=brighter(8)), "seen_store")
    assert stored_stats(before)["s1"] != stored_stats(seen)["s1"]
    assert stored_stats(before)["s2"] != stored_stats(seen)["s2"]


def test_values_are_clipped_before_they_are_counted(write_source: WriteSource) -> None:
    def flash(place: int, s1: Raster, s2: Raster) -> None:
        s2[:, 3, 3] = 60000 if place == 4 else 10000

    def clipped(place: int, s1: Raster, s2: Raster) -> None:
        s2[:, 3, 3] = 10000

    one = build(write_source(splits=SPLITS, edit=flash))
    two = build(write_source("other", splits=SPLITS, edit=clipped), "other_store")
    assert stored_stats(one) == stored_stats(two)


def test_no_data_is_left_out_of_the_statistics(write_source: WriteSource) -> None:
    def hole(place: int, s1: Raster, s2: Raster) -> None:
        s1[:, :8] = np.nan
        s2[:, :8] = 0

    store = build(write_source(splits=SPLITS, edit=hole))
    whole = build(write_source("whole", splits=SPLITS), "whole_store")
    assert (store.index["valid"] == 0.5).all()
    np.testing.assert_allclose(store.specs["s2"].mean, whole.specs["s2"].mean, rtol=0.02)
    assert (store.read("s2", np.arange(12))[:, :, :8] == 65535).all()
    assert (store.read("s1", np.arange(12))[:, :, :8] == -32768).all()


def test_a_constant_band_is_refused(write_source: WriteSource) -> None:
    def flat(place: int, s1: Raster, s2: Raster) -> None:
        s2[2] = 700

    with pytest.raises(UserError, match=r"s2.*B04"):
        build(write_source(splits=SPLITS, edit=flat))


def test_data_that_are_all_tested_on_are_refused(write_source: WriteSource) -> None:
    """Statistics need patches outside the test split."""
    with pytest.raises(UserError, match="test"):
        build(write_source(splits=["test"] * 12))


# --- the same bytes, whoever worked


def files(store: PatchStore) -> dict[str, bytes]:
    found = sorted(path for path in store.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(store.folder)): path.read_bytes() for path in found}


def test_any_number_of_workers_writes_the_same_bytes(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS)
    one, four = build(raw, "one", workers=1), build(raw, "four", workers=4)
    assert one.digest == four.digest
    assert files(one) == files(four)


def test_any_size_of_shards_holds_the_same_arrays(write_source: WriteSource) -> None:
    """64 px: 32 KiB of s2 a patch, so 1 MiB holds 32 patches; 0 MiB means one patch a shard."""
    raw = write_source(labels=[0, 1, 2] * 12, size=64)
    stores = [build(raw, f"store{size}", shard_mib=size) for size in (64, 1, 0)]
    assert [store.index["shard"].max() for store in stores] == [0, 1, 35]
    reference = everything(stores[0])
    order = np.random.default_rng(0).permutation(36)
    for store in stores[1:]:
        assert stored_stats(store) == stored_stats(stores[0])
        for sensor, arrays in everything(store).items():
            np.testing.assert_array_equal(arrays, reference[sensor])
            np.testing.assert_array_equal(
                store.read(sensor, order),
                reference[sensor][order],
            )


def test_the_digest_changes_with_one_pixel_and_with_one_label(write_source: WriteSource) -> None:
    def pixel(place: int, s1: Raster, s2: Raster) -> None:
        if place == 7:
            s2[1, 2, 3] += 1

    labels = [0, 1, 2] * 3 + [0, 1, 1]
    digests = [
        build(write_source("a", splits=SPLITS), "sa").digest,
        build(write_source("b", splits=SPLITS, edit=pixel), "sb").digest,
        build(write_source("c", splits=SPLITS, labels=labels), "sc").digest,
    ]
    assert len(set(digests)) == 3
    assert build(write_source("d", splits=SPLITS), "sd").digest == digests[0]


# --- bad data


def test_workers_read_rasters_without_georeference_quietly(write_source: WriteSource) -> None:
    """Silencing a warning is a setting of a whole process, so workers are processes."""
    raw = write_source(labels=[0, 1, 2] * 50, size=4, georeferenced=False)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        assert len(build(raw, workers=8).index) == 150
    finally:
        sys.setswitchinterval(usual)


def empty(*places: int) -> Edit:
    def edit(place: int, s1: Raster, s2: Raster) -> None:
        if place in places:
            s1[:] = np.nan

    return edit


def test_a_patch_without_data_is_left_out_and_listed(write_source: WriteSource) -> None:
    store = build(write_source(splits=SPLITS, edit=empty(4)), max_bad_fraction=0.1)
    assert "p004" not in set(store.index["id"])
    assert len(store.index) == 11
    audit = json.loads(store.folder.with_name("store.audit.json").read_text())
    assert [(f["id"], f["rule"], f["severity"]) for f in audit["findings"]] == [
        ("p004", "all_nodata", "error")
    ]


def test_too_many_patches_without_data_are_refused(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS, edit=empty(4, 7))
    with pytest.raises(UserError, match=r"2 of 12 patches.*p004"):
        build(raw, max_bad_fraction=0.1)


def cropped(place: int, s1: Raster, s2: Raster) -> tuple[Raster, Raster] | None:
    return (s1[:, :14], s2) if place == 5 else None


def smaller(place: int, s1: Raster, s2: Raster) -> tuple[Raster, Raster] | None:
    return (s1[:, :8, :8], s2[:, :8, :8]) if place == 5 else None


def oblong(place: int, s1: Raster, s2: Raster) -> tuple[Raster, Raster] | None:
    return s1[:, :14], s2[:, :14]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (cropped, r"1 of 12.*p005.*s1 has 14 x 16 pixels, s2 16 x 16"),
        (smaller, r"1 of 12.*p005.*8 x 8.*p000 16 x 16"),
        (oblong, r"12 of 12.*p000 is not square: 14 x 16"),
    ],
)
def test_sizes_that_do_not_fit_are_named(
    write_source: WriteSource, edit: Edit, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(write_source(splits=SPLITS, edit=edit))


def test_a_mask_of_another_size_is_named(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS, masks=True)
    small = write_source("small", splits=SPLITS, masks=True, size=8)
    (raw / "label/3.tif").write_bytes((small / "label/3.tif").read_bytes())
    with pytest.raises(UserError, match="p003: label has 8 x 8 pixels"):
        build(raw)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_bad_patch_is_listed_and_the_others_are_stored(
    write_source: WriteSource, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(place: int, s1: Raster, s2: Raster) -> tuple[Raster, Raster] | None:
        bad = {1: (s1[:, :14], s2), 2: (s1[:1], s2), 4: (s1, s2.astype(np.complex64))}
        return bad.get(place) or smaller(place, s1, s2)

    raw = write_source(splits=SPLITS, edit=odd, masks=True)
    (raw / "s1/6.tif").unlink()
    truncate(raw / "s2/7.tif")
    (raw / "label/8.tif").write_text("no raster")
    store = build(raw, max_bad_fraction=0.6)
    expected = {
        "p001": "size",
        "p002": "bands",
        "p004": "dtype",
        "p005": "size",
        "p006": "unreadable",
        "p007": "unreadable",
        "p008": "unreadable",
    }
    assert list(store.index["id"]) == ["p000", "p003", "p009", "p010", "p011"]
    audit = json.loads(store.folder.with_name("store.audit.json").read_text())
    errors = [f for f in audit["findings"] if f["severity"] == "error"]
    # the mask is 16 x 16 where both sensors are 8 x 8: two findings, one rule
    assert {f["id"]: f["rule"] for f in errors} == expected
    assert audit["quarantined"] == 7
    assert not [f for f in audit["findings"] if "\n" in f["message"]]
    printed = capsys.readouterr().err
    assert "of 12 patches 7 cannot be used" in printed
    assert "p006, p007, p008" in printed
    assert f"every finding is in {store.folder.with_name('store.audit.json')}" in printed


def test_bad_patches_leave_the_bytes_of_the_others_alone(write_source: WriteSource) -> None:
    raw = write_source(labels=[0, 1, 2] * 5, splits=[*SPLITS, *["train"] * 3])
    source = read_source(raw)
    (raw / "s1/14.tif").unlink()
    with_bad = build(raw, max_bad_fraction=0.1)
    replace(source, manifest=source.manifest.drop(14)).write(raw)
    assert files(with_bad) == files(build(raw, "without"))


def test_a_missing_raster_is_named(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS)
    (raw / "s1/6.tif").unlink()
    with pytest.raises(UserError, match=r"s1/6\.tif"):
        build(raw)


def test_a_scored_patch_that_is_learnt_from_is_left_out(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS)  # 10 is tested on, 4 trained on
    (raw / "s2/10.tif").write_bytes((raw / "s2/4.tif").read_bytes())
    with pytest.raises(UserError, match=r"p010: s2 holds the same pixels as p004"):
        build(raw)
    assert "p010" not in set(build(raw, max_bad_fraction=0.1).index["id"])


def test_a_patch_upside_down_is_no_duplicate(write_source: WriteSource) -> None:
    """It agrees with the other in all statistics."""
    first: list[Raster] = []

    def turned(place: int, s1: Raster, s2: Raster) -> tuple[Raster, Raster]:
        first.extend([s1, s2] if place == 0 else [])
        return (first[0][:, ::-1], first[1][:, ::-1]) if place == 4 else (s1, s2)

    store = build(write_source(splits=SPLITS, edit=turned))
    assert "duplicate" not in (store.folder.parent / "store.audit.json").read_text()


def test_looking_for_shifts_changes_no_byte_of_the_store(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS, size=32)
    without, looking = build(raw), build(raw, "looking", check_shift=True)
    assert files(without) == files(looking)
    notes = json.loads((raw.parent / "looking.audit.json").read_text())["notes"]
    assert [(note["rule"], len(note["ids"])) for note in notes] == [("shift", 12)]


def test_shift_is_searched_in_sample(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_source(splits=SPLITS, size=32)
    monkeypatch.setattr(normalisation, "SHIFT_SAMPLE", 5)
    searched = []
    for name in ("one", "two"):
        build(raw, name, check_shift=True)
        audit = json.loads((raw.parent / f"{name}.audit.json").read_text())
        assert audit["shift_searched"] == 5
        searched.append([note["ids"] for note in audit["notes"] if note["rule"] == "shift"])
    assert searched[0] == searched[1]
    assert len(searched[0][0]) == 5
    expected = f"a shift was searched in 5 of 12 patches; `eocontrast audit {raw}` searches all"
    assert expected in capsys.readouterr().err


def test_a_failed_build_leaves_the_store_as_it_was(write_source: WriteSource) -> None:
    before = files(build(write_source(splits=SPLITS)))
    raw = write_source(splits=SPLITS, edit=cropped)
    with pytest.raises(UserError):
        build(raw)
    assert files(PatchStore(raw.parent / "store")) == before


def test_a_rebuilt_store_keeps_nothing_of_the_old_one(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS)
    build(raw, shard_mib=0)
    rebuilt, fresh = build(raw), build(raw, "fresh")
    assert files(rebuilt) == files(fresh)


def test_a_folder_without_a_manifest_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro download"):
        build(tmp_path / "raw")


def test_a_full_disk_is_said_before_the_store_is_written(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_source()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(UserError, match="the patch store needs"):
        build(raw)
    assert not (raw.parent / "store").exists()


def notes(store: Path) -> dict[str, int]:
    """When each shard of a store that is being built was complete."""
    found = store.with_name(f"{store.name}.partial").glob("shards/*.json")
    return {path.name: path.stat().st_mtime_ns for path in found}


def test_a_run_that_was_killed_twice_ends_in_the_same_bytes(write_source: WriteSource) -> None:
    raw = write_source(labels=[0, 1, 2] * 40, splits=["train"] * 90 + ["test"] * 30)
    whole = files(build(raw, shard_mib=0, workers=1))
    killed = raw.parent / "killed"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from eocontrast.normalisation import shards\n"
        "from eocontrast.normalisation.build import build_store\n"
        "read, left = shards.read_pair, iter(range(int(sys.argv.pop())))\n"
        "def halting(*given):\n"
        "    time.sleep(0 if next(left, None) is not None else 600)\n"
        "    return read(*given)\n"
        "shards.read_pair = halting\n"
        "build_store(*map(Path, sys.argv[1:]), seed=0, test_fraction=0.3, shard_mib=0, "
        "max_bad_fraction=0, check_shift=False, workers=1)"
    )
    paths = [str(raw), str(killed), str(raw.parent / "killed.audit.json")]
    for wanted in (20, 60):
        process = subprocess.Popen([sys.executable, "-c", program, *paths, str(wanted)])
        while process.poll() is None and len(notes(killed)) < wanted:
            time.sleep(0.002)
        process.kill()
        process.wait()
        before = notes(killed)
        assert wanted <= len(before) < 120
    done = build(raw, "killed", shard_mib=0, workers=1)
    assert files(done) == whole
    assert not killed.with_name("killed.partial").exists()


def test_what_an_interrupted_run_wrote_is_not_read_again(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_source(splits=SPLITS)
    asked: list[str] = []

    def interrupted(
        source: Source, bands: StoreBands, row: dict[str, str], check_shift: bool
    ) -> Patch:
        asked.append(row["id"])
        if len(asked) == 8:
            raise KeyboardInterrupt
        return read_pair(source, bands, row, check_shift)

    monkeypatch.setattr(shards, "read_pair", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(raw, shard_mib=0, workers=1)
    build(raw, shard_mib=0, workers=1)
    assert asked == [f"p{k:03d}" for k in (*range(8), *range(7, 12))]


def test_what_a_killed_worker_left_half_written_is_no_part_of_the_store(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_source(splits=SPLITS)
    with monkeypatch.context() as patched:
        patched.setattr(normalisation, "write_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(raw, shard_mib=0, workers=1)
    (raw.parent / "store.partial/s2/00003.npy.123.partial").write_bytes(b"half")
    continued = files(build(raw, shard_mib=0, workers=1))
    assert continued == files(build(raw, "fresh", shard_mib=0, workers=1))


def test_shards_of_other_data_are_not_continued(
    write_source: WriteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = write_source(splits=SPLITS)
    with monkeypatch.context() as patched:
        patched.setattr(normalisation, "write_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(raw, shard_mib=0, workers=1)
    source = read_source(raw)
    source.manifest[["s1", "s2"]] = source.manifest[["s1", "s2"]].to_numpy()[::-1]
    source.write(raw)
    continued = files(build(raw, shard_mib=0, workers=1))
    assert continued == files(build(raw, "fresh", shard_mib=0, workers=1))


def test_mended_rasters_are_read_again(write_source: WriteSource) -> None:
    raw = write_source(splits=SPLITS, edit=empty(4))
    with pytest.raises(UserError, match="1 of 12 patches"):
        build(raw, shard_mib=0, workers=1)
    for sensor in ("s1", "s2"):
        (raw / sensor / "4.tif").write_bytes((raw / sensor / "1.tif").read_bytes())
    assert "p004" in set(build(raw, shard_mib=0, workers=1).index["id"])
