"""A few simulated scenes in the folders of SEN12MS and DFC2020, made once."""

from pathlib import Path

import pytest

from eocontrast.source_params import SimulatedParams
from eocontrast.sources import simulated


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SEN12MS: two scenes of spring, one of each other season; DFC2020: 4 and 12 patches."""
    folder = tmp_path_factory.mktemp("scenes")
    few = {"pretrain_scenes": 5, "train_scenes": 1, "test_scenes": 3}
    size = {"seed": 3, "patch_size": 16, "scene_size": 2}
    simulated.fetch(folder, SimulatedParams.model_validate(few | size), workers=1)
    return folder
