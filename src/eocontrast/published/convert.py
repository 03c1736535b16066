"""Conversion of foreign checkpoints to `Pretrained`: of any timm model, and of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eocontrast.modalities import BY_IMAGE, Modality, Scaling, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.published.catalogue import Entry
from eocontrast.published.checkpoints import State, read_checkpoint
from eocontrast.published.fit import fitted, found_prefix
from eocontrast.published.inputs import expected_input
from eocontrast.runtime.errors import UserError, some


def convert(
    path: Path, entry: Entry, sha256: str, options: Mapping[str, Any] | None = None
) -> Pretrained:
    """Convert a file that a catalogue's entry describes, in any of its published layouts.

    Args:
        path: The checkpoint.
        entry: Entry of the catalogue.
        sha256: SHA-256 of the file, for the header.
        options: More keyword arguments of `timm.create_model`, such as `final_norm`.

    Raises:
        UserError: the file cannot be read or holds another model, with the entry's name.
    """
    architecture = Architecture(entry.model, {**entry.options, **(options or {})})
    try:
        state = read_checkpoint(path)
        made = timm_backbone(state, architecture, entry.sensor, expected_input(entry.inputs))
    except UserError as error:
        where = f"; the catalogue's file is {entry.file}" if entry.address != "none" else ""
        raise UserError(f"{path} is not read as {entry.name}: {error}{where}") from error
    run = {"name": entry.name, "file": entry.file, "sha256": sha256}
    data = {"name": entry.data, "licence": entry.licence}
    origins = ({**entry.origin, "sha256": sha256},)
    return replace(made, method="published", run=run, data=data, origins=origins)


def joined(parts: Sequence[Pretrained]) -> Pretrained:
    """Join published weights of several sensors into one file, for late fusion.

    Their architectures may differ. The licence is that of all parts together.

    Raises:
        UserError: two of them are of one sensor.
    """
    first, *rest = parts
    whole = replace(first, run={"weights": [part.run for part in parts]})
    for part in rest:
        if twice := [sensor for sensor in part.specs if sensor in whole.specs]:
            raise UserError(f"two of these weights are of {twice[0]}: name one of each sensor")
        licences = dict.fromkeys([whole.data["licence"], part.data["licence"]])
        names = dict.fromkeys([whole.data["name"], part.data["name"]])
        own = {s: part.architecture for s in part.specs if part.architecture != first.architecture}
        whole = replace(
            whole,
            specs={**whole.specs, **part.specs},
            tensors={**whole.tensors, **part.tensors},
            others={**whole.others, **own},
            data={"name": " and ".join(names), "licence": " and ".join(licences)},
            origins=(*whole.origins, *part.origins),
        )
    return whole


def timm_backbone(
    state: State,
    architecture: Architecture,
    sensor: Sensor,
    spec: InputSpec,
    prefix: str | None = None,
) -> Pretrained:
    """Convert the backbone of any checkpoint whose model timm has; other tensors are left out.

    Args:
        state: Tensors by name.
        architecture: timm's name, and the options that the weights were trained with.
        sensor: Sensor that it was trained on.
        spec: Input that it expects.
        prefix: Text before timm's names, such as `module.backbone.`; found by default.

    Raises:
        UserError: a tensor is missing, left over or of another shape, or no tensor has the prefix,
            or there are several prefixes to choose from.
    """
    prefix = found_prefix(state, architecture, sensor) if prefix is None else prefix
    under = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    if not under:
        raise UserError(f"no tensor's name begins with {prefix!r}; there are {some(state)}")
    tensors = fitted(under, architecture, sensor, spec, prefix)
    return Pretrained("imported", architecture, {sensor: spec}, tensors, "")


def input_spec(
    modality: Modality,
    patch_size: int,
    scaling: Scaling,
    mean: Sequence[float] = (),
    sd: Sequence[float] = (),
    pixel: float | None = None,
    with_offset: bool | None = None,
) -> InputSpec:
    """Describe the input of foreign weights; the statistics are those of their training data.

    `pixel` and `with_offset` are as in `InputSpec`; None if nobody knows.

    Raises:
        UserError: the band statistics are missing, or not one per band.
    """
    bands = len(modality.bands)
    if scaling in BY_IMAGE:  # counts from the lower end of the range
        mean, sd = [modality.valid_range[0]] * bands, [1.0] * bands
    if not len(mean) == len(sd) == bands or min(sd) <= 0:
        raise UserError(
            f"scaling {scaling} needs {bands} means and positive deviations, one a band, but "
            f"got the means {list(mean)} and the deviations {list(sd)}"
        )
    # the offset is one of Sentinel-2's digital numbers; decibels have none
    offset = with_offset if modality.units in ("DN", "reflectance") else None
    return InputSpec(modality, tuple(mean), tuple(sd), patch_size, scaling, pixel, offset)
