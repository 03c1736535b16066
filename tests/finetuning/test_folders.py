from pathlib import Path

import pytest
from shipped import PARAMS

from eocontrast.config.params import Params, load_params
from eocontrast.finetuning.folders import ArmFolder, most_labels_first, publish, stage_folders
from eocontrast.models.point_files import SINGLE, read_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError

INIT = "random_resnet"


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS)


def folders(name: str, params: Params, store: Path, out: Path) -> list[ArmFolder]:
    return stage_folders(name, params, store, out / "pretrained", out)


def test_arms_of_init_have_folders(params: Params, mixed_folder: Path, tmp_path: Path) -> None:
    made = folders(INIT, params, mixed_folder, tmp_path)
    assert [folder.path for folder in made] == [tmp_path / a for a in params.label_curve.arms[INIT]]
    for folder in made:
        assert {job.out for job in folder.jobs} == {folder.path}
        assert {str(job.fraction) for job in folder.jobs}.isdisjoint(folder.left_out)
    fractions = [job.fraction for job in most_labels_first(made)]
    assert fractions == sorted(fractions, reverse=True)
    assert len(fractions) == sum(len(folder.jobs) for folder in made) > 0


def test_single_run_has_one_point(params: Params, mixed_folder: Path, tmp_path: Path) -> None:
    (folder,) = folders(SINGLE, params, mixed_folder, tmp_path)
    assert folder.path == tmp_path
    (job,) = folder.jobs
    assert (job.name, job.arm) == (SINGLE, params.single_arm)


def test_unknown_init_comes_before_store(params: Params, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'moco' is none of label_curve\.arms: "):
        folders("moco", params, tmp_path / "no store", tmp_path)


@pytest.mark.parametrize("name", [SINGLE, INIT])
def test_unlabelled_test_split_is_refused(
    params: Params,
    mixed_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(PatchStore, "labelled", lambda self, split: [])
    with pytest.raises(UserError, match=r"no labelled patch in the split test; give groups"):
        folders(name, params, mixed_folder, tmp_path)


@pytest.mark.parametrize("work", ["work", "out"])
def test_points_are_published(
    params: Params, mixed_folder: Path, tmp_path: Path, work: str
) -> None:
    """Weights move out of the folder of unfinished work, which may be the output itself."""
    out = tmp_path / "out"
    made = folders(INIT, params, mixed_folder, out)
    for job in (job.moved(out, tmp_path / work) for folder in made for job in folder.jobs):
        job.out.mkdir(parents=True, exist_ok=True)
        job.file.write_text(f"{job.name} {job.fraction} {job.seed}")
        job.file.with_suffix(".json").write_text("[]")
    for folder in made:
        publish(folder, out, tmp_path / work)
        files, left_out = read_index(folder.path)
        assert (files, left_out) == ([job.file for job in folder.jobs], folder.left_out)
        texts = [f"{job.name} {job.fraction} {job.seed}" for job in folder.jobs]
        assert [file.read_text() for file in files] == texts
        assert {p.name for p in folder.path.iterdir()} == {*(f.name for f in files), "points.json"}
