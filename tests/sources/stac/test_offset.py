from typing import Any

import pystac
import pytest

from eocontrast.sources.stac.offset import stated_offset


def item(properties: dict[str, object], **asset: object) -> pystac.Item:
    """An item with one asset, whose further fields are given."""
    fields = {"datetime": "2023-06-01T10:10:00Z", **properties}
    made: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "S2",
        "geometry": {"type": "Point", "coordinates": [9.0, 48.0]},
        "bbox": [9.0, 48.0, 9.0, 48.0],
        "properties": fields,
        "links": [],
        "assets": {"red": {"href": "https://example.org/red.tif", **asset}},
    }
    return pystac.Item.from_dict(made)


@pytest.mark.parametrize(
    ("properties", "asset", "stated"),
    [
        ({}, {}, None),
        ({"s2:processing_baseline": "03.01"}, {}, False),
        ({"s2:processing_baseline": "05.09"}, {}, True),
        ({"processing:version": "05.09"}, {}, True),
        # Earth Search states the band's offset beside a flag that it is taken off
        (
            {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True},
            {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]},
            False,
        ),
        ({}, {"raster:bands": [{"scale": 1e-4, "offset": -0.1}]}, True),
        ({}, {"raster:bands": [{"scale": 1e-4, "offset": 0}]}, False),
        ({}, {"raster:offset": -0.1}, True),
        ({}, {"bands": [{"name": "B04", "raster:offset": -0.1}]}, True),
    ],
)
def test_metadata_state_the_offset(
    properties: dict[str, object], asset: dict[str, Any], stated: bool | None
) -> None:
    assert stated_offset(item(properties, **asset)) is stated
