"""The options for the image of one sensor, which several commands share."""

from __future__ import annotations

import argparse
from typing import get_args

from eocontrast.modalities import Sensor, Units

NAMES: dict[Sensor, str] = {"s1": "Sentinel-1", "s2": "Sentinel-2"}


def add_image(
    group: argparse._ArgumentGroup, sensor: Sensor, bands: str, units: str, required: bool = False
) -> None:
    """Add an image, the names of its bands and its units.

    Args:
        group: Group of options to add to.
        sensor: Sensor of the image.
        bands: Default of the names, in words.
        units: Default of the units, in words.
        required: Whether the image must be given.
    """
    add = group.add_argument
    add(f"--{sensor}", metavar="RASTER", required=required, help=f"{NAMES[sensor]}'s image")
    add(f"--{sensor}-bands", nargs="+", metavar="NAME",
        help=f"bands in the order of the file (default: {bands})")  # fmt: skip
    add(f"--{sensor}-units", choices=get_args(Units),
        help=f"units of the values (default: {units})")  # fmt: skip
