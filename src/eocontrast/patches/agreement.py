"""Agreement of the pixels of a patch store with those that weights were trained on."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from eocontrast.modalities import Sensor
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

PIXEL_TOLERANCE = 1.5
"""Ratio of pixel sizes from which objects look other than in training."""

PIXEL = 10.0
"""Metres of a pixel of Sentinel-1 and of Sentinel-2's finest bands."""


def same_pixel(one: float, other: float) -> bool:
    """Return whether two pixel sizes in metres are about equal."""
    # degrees of longitude shrink towards the poles, so pixels of 10 m are never exactly that
    return 1 / PIXEL_TOLERANCE < one / other < PIXEL_TOLERANCE


def compare_ground(
    name: str, weights: Mapping[Sensor, InputSpec], data: Mapping[Sensor, InputSpec]
) -> None:
    """Compare pixel size and offset of weights with those of a patch store.

    Prints what differs in pixel size, or cannot be compared.

    Args:
        name: Name of the weights for messages.
        weights: Input of the weights by sensor.
        data: Input of the store by sensor.

    Raises:
        UserError: one of the two holds Sentinel-2's offset of 1000 and the other does not.
    """
    for sensor, spec in weights.items():
        store = data[sensor]
        if {spec.with_offset, store.with_offset} == {True, False}:
            raise UserError(
                f"{name} was trained on values of {sensor} {_offset(spec)}, but the store holds "
                f"values {_offset(store)}. Convert the rasters, by sources.manifest.{sensor}.offset"
                f": {'1000' if spec.with_offset else '-1000'} in params.yaml"
            )
        # the offset is one of Sentinel-2's products alone
        offset = _unknown_offset(spec, store) if sensor == "s2" else ""
        for line in (_pixels(spec, store), offset):
            if line:
                print(f"warning: {name}, {sensor}: {line}", file=sys.stderr)


def _pixels(spec: InputSpec, store: InputSpec) -> str:
    if spec.pixel and store.pixel:
        if same_pixel(spec.pixel, store.pixel):
            return ""
        return (
            f"trained on pixels of {spec.pixel:.3g} m, the store has pixels of {store.pixel:.3g} m:"
            f" objects look {spec.pixel / store.pixel:.2g} times as large"
        )
    if spec.pixel or store.pixel:
        unknown = "store" if spec.pixel else "weights"
        size = spec.pixel or store.pixel
        return f"the pixel size of the {unknown} is not recorded; {size:.3g} m is assumed"
    return ""


def _unknown_offset(spec: InputSpec, store: InputSpec) -> str:
    if (spec.with_offset is None) == (store.with_offset is None):
        return ""
    unknown, other = ("weights", store) if spec.with_offset is None else ("store", spec)
    return (
        f"whether the values of the {unknown} hold Sentinel-2's offset of 1000 is not recorded; "
        f"they are assumed to be {_offset(other)}"
    )


def _offset(spec: InputSpec) -> str:
    return f"{'with' if spec.with_offset else 'without'} Sentinel-2's offset of 1000"
