import json
import re
from dataclasses import replace

import pytest

from eocontrast.modalities import Modality
from eocontrast.patches.agreement import compare_ground
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

SPEC = InputSpec(
    Modality(("B02", "B08"), "DN", (0, 10000)), (1100, 2000), (300, 900), 16,
    pixel=10, with_offset=False,
)  # fmt: skip


@pytest.mark.parametrize("offsets", [(True, False), (False, True)])
def test_offset_of_weights_and_store_differ(offsets: tuple[bool, bool]) -> None:
    weights, store = (replace(SPEC, with_offset=offset) for offset in offsets)
    with pytest.raises(UserError, match=r"w was trained on values of s2 with.*offset: -?1000"):
        compare_ground("w", {"s2": weights}, {"s2": store})


def test_radar_has_no_offset(capsys: pytest.CaptureFixture[str]) -> None:
    radar = replace(SPEC, modality=Modality(("VV", "VH"), "DN", (0, 255)))
    compare_ground("w", {"s1": replace(radar, with_offset=None)}, {"s1": radar})
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("weights", "store", "message"),
    [
        ({}, {}, ""),
        ({}, {"pixel": 12.0}, ""),
        ({}, {"pixel": 0.5}, "objects look 20 times as large"),
        ({"pixel": 60.0}, {}, "trained on pixels of 60 m, the store has pixels of 10 m"),
        ({"pixel": None}, {}, "pixel size of the weights is not recorded; 10 m is assumed"),
        ({}, {"with_offset": None}, "values of the store hold .* assumed to be without"),
        ({"with_offset": None}, {"with_offset": True}, "of the weights hold .* to be with "),
    ],
)
def test_differences_are_printed(
    weights: dict[str, object],
    store: dict[str, object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, other = replace(SPEC, **weights), replace(SPEC, **store)  # type: ignore[arg-type]
    compare_ground("w", {"s2": one}, {"s2": other})
    printed = capsys.readouterr().err
    assert bool(printed) == bool(message)
    assert len(printed.splitlines()) == bool(message)
    if message:
        assert re.search(message, printed)


@pytest.mark.parametrize("pixel", [None, 0.5, 60.0])
@pytest.mark.parametrize("offset", [None, True, False])
def test_header_keeps_ground(pixel: float | None, offset: bool | None) -> None:
    spec = replace(SPEC, pixel=pixel, with_offset=offset)
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("mean", "offset"), [((1400.0, 900.0), False), ((1400.0, 2900.0), None), ((0.0, 1700.0), None)]
)
def test_older_headers(mean: tuple[float, float], offset: bool | None) -> None:
    """A mean below 1000 excludes the offset; 0 is that of a filled band."""
    fields = replace(SPEC, mean=mean).to_dict()
    del fields["pixel"], fields["with_offset"]
    spec = InputSpec.from_dict(fields)
    assert (spec.pixel, spec.with_offset) == (None, offset)
