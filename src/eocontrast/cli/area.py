"""An area and dates as arguments, and `eocontrast start` from them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from eocontrast.cli.params import read_params
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import refuse_existing

if TYPE_CHECKING:  # the schema takes a third of a second
    from eocontrast.config.catalogues import StacParams
    from eocontrast.mapping.scenes import Image
    from eocontrast.sources.scenes.cut import Cutting

IMAGES = Path("data/raw/scenes")
"""Folder of images that were read for maps; a second map of an area reads none."""


def add_area_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an area, dates and a catalogue."""
    place = parser.add_argument_group(
        "an area", "Images come from a catalogue instead of files (needs `pip install -e "
        "'.[stac]'`). What is not given here is as under sources.stac in params.yaml."
    )  # fmt: skip
    add = place.add_argument
    add("--area", metavar="AREA",
        help="file of polygons, or a box as west,south,east,north in degrees; write "
        "--area=-5.2,... if it begins with a minus")  # fmt: skip
    add("--dates", nargs="+", metavar="FIRST/LAST",
        help="ranges for Sentinel-2, such as 2023-05/2023-09 or 2023-05-10/2023-06-20")  # fmt: skip
    add(
        "--catalog",
        metavar="NAME",
        help="planetary_computer, earth_search, earth_search_l2a or copernicus",
    )
    add("--orbit", choices=("ascending", "descending"), help="direction of Sentinel-1")


def stac_params(section: Any, arguments: argparse.Namespace, **changes: object) -> StacParams:  # noqa: ANN401 - parsed YAML
    """Return the parameters of the source with the arguments in place of its own.

    Args:
        section: `sources.stac` of the parsed params.yaml.
        arguments: Arguments of `add_area_arguments`.
        changes: Further parameters to replace.

    Raises:
        UserError: a value is out of range.
    """
    from pydantic import ValidationError

    from eocontrast.config.catalogues import Preset, StacParams
    from eocontrast.config.mistakes import of_values

    if arguments.catalog not in (None, *get_args(Preset)):
        raise UserError(
            f"--catalog is {arguments.catalog}; expected one of {', '.join(get_args(Preset))}. "
            "Describe a catalogue of your own under sources.stac.catalog in params.yaml"
        )
    if not arguments.dates:
        raise UserError("--area needs --dates: pass the range, such as --dates 2023-05/2023-09")
    named = {name: getattr(arguments, name) for name in ("dates", "catalog", "orbit")}
    replaced = {name: value for name, value in {**named, **changes}.items() if value is not None}
    raw = {**section, **replaced}
    try:
        return StacParams.model_validate(raw)
    except ValidationError as error:
        raise UserError(of_values(error, raw)) from error


@contextmanager
def _extra() -> Iterator[None]:
    """Turn the import of a package that is not installed into a message."""
    try:
        yield
    except ImportError as error:
        from eocontrast.sources.catalogue import needs_extra

        raise needs_extra(error) from error


def area_images(arguments: argparse.Namespace) -> dict[Sensor, Image]:
    """Read the images that a model needs of an area from a catalogue.

    Raises:
        UserError: the area, the model or the catalogue cannot be used, or nothing was found.
    """
    from eocontrast.mapping.scenes import Image
    from eocontrast.models.build import load_finetuned
    from eocontrast.rasters.values import Declared

    refuse_existing(arguments.out, arguments.overwrite)  # reading an area may take hours
    if arguments.s1 or arguments.s2:
        raise UserError("pass --s1 and --s2, or --area: images come from one of the two")
    for sensor in SENSORS:
        for name in ("bands", "units", "nodata"):
            if getattr(arguments, f"{sensor}_{name}"):
                raise UserError(
                    f"--{sensor}-{name} describes a file, and --area reads images whose {name} are "
                    "known: leave it out"
                )
    with _extra():
        from eocontrast.sources.stac.area import area_file
        from eocontrast.sources.stac.scene import write_scene
    # bands are the model's: a catalogue has them all
    model, _ = load_finetuned(arguments.model)
    if "s2" not in model.inputs:
        raise UserError("this model takes s1 alone; --area maps with models that take s2")
    wanted = model.inputs["s2"].modality.bands
    parsed, _ = read_params(arguments.params)
    params = stac_params(
        parsed["sources"]["stac"],
        arguments,
        area=area_file(arguments.area, arguments.out.with_suffix(".area.geojson")),
        bands=tuple(band for band in wanted if band not in arguments.fill_bands),
    )
    paths = write_scene(params, tuple(model.inputs), IMAGES)
    fill = tuple(arguments.fill_bands)
    offsets = {sensor: getattr(arguments, f"{sensor}_offset") for sensor in paths}
    files = {s: Declared(offset="auto" if add is None else add) for s, add in offsets.items()}
    return {
        sensor: Image(str(path), fill_bands=fill, files=files[sensor])
        for sensor, path in paths.items()
    }


def fill_from_area(parsed: Any, arguments: argparse.Namespace, cutting: Cutting) -> list[str]:  # noqa: ANN401 - parsed YAML
    """Lay out the patches of an area, fill in their parameters and return what was assumed.

    Raises:
        UserError: area or labels cannot be used, do not overlap, or a credential is missing.
    """
    from eocontrast.sources.scenes.project import find_labels

    with _extra():
        from eocontrast.sources.stac.area import area_file
        from eocontrast.sources.stac.plan import block_kilometres, fill_params, plan_area
    area = area_file(arguments.area, arguments.out / "area.geojson")
    labels = find_labels(arguments.labels, arguments.class_column)
    params = stac_params(
        parsed["sources"]["stac"],
        arguments,
        area=area,
        patch_size=cutting.side,
        patches=arguments.patches,
        block_km=block_kilometres(area, cutting.side, cutting.block),
        seed=cutting.seed,
        classes=labels.classes,
        labels={"path": labels.path, "class_column": labels.class_column},
    )
    plan = plan_area(params, labels, cutting.test_fraction)
    if arguments.catalog:
        parsed["sources"]["stac"]["catalog"] = arguments.catalog
    fill_params(parsed, plan)
    return [*plan.lines(), "nothing was asked of the catalogue yet"]
