import json

import numpy as np
import pytest
import torch

from eocontrast.inputs import InputSpec, Scale
from eocontrast.modalities import SENTINEL1, Modality

DECIBEL = InputSpec(SENTINEL1, (-10.0, -20.0), (2.0, 4.0), 64)
DIGITAL = InputSpec(Modality(("B02",), "DN", (0.0, 10000.0)), (1000.0,), (500.0,), 64)


def test_hundredths_of_decibels_are_standardised_by_band() -> None:
    stored = torch.tensor([-1000, -2200], dtype=torch.int16).view(1, 2, 1, 1)
    found = Scale(DECIBEL)(stored).flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, (-22 + 20) / 4]))


def test_digital_numbers_beyond_the_range_are_clipped() -> None:
    stored = torch.tensor([1500, 30000], dtype=torch.uint16).view(2, 1, 1, 1)
    found = Scale(DIGITAL)(stored).flatten()
    assert found.tolist() == pytest.approx([1.0, (10000 - 1000) / 500])
    low = torch.tensor([-6000], dtype=torch.int16).view(1, 1, 1, 1).expand(1, 2, 1, 1)
    assert Scale(DECIBEL)(low).flatten().tolist() == [(-40 + 10) / 2, (-40 + 20) / 4]


@pytest.mark.parametrize("spec", [DECIBEL, DIGITAL])
def test_no_data_becomes_the_mean(spec: InputSpec) -> None:
    bands = len(spec.modality.bands)
    values = np.full((1, bands, 2, 2), np.nan)
    values[..., 0, 0] = 3.0
    found = Scale(spec)(torch.from_numpy(spec.modality.encode(values)))
    assert found.dtype == torch.float32
    assert (found.flatten(2)[..., 1:] == 0).all()
    assert (found[..., 0, 0] != 0).all()


def test_statistics_are_not_part_of_the_weights() -> None:
    assert Scale(DECIBEL).state_dict() == {}


def test_a_spec_survives_json() -> None:
    assert InputSpec.from_dict(json.loads(json.dumps(DECIBEL.to_dict()))) == DECIBEL
