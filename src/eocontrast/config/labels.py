"""The parameters of labels that come as one file, and of class names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from eocontrast.config.schema import Section
from eocontrast.labels import MAX_CLASSES


class LabelsParams(Section):
    """A file of labels for all patches: polygons or points with a class column, or a raster.

    A vector file without features labels nothing.
    """

    path: Path
    class_column: str


def _check_classes(classes: dict[str, int]) -> dict[str, int]:
    """Refuse names that stand for several classes, or for none, and too many classes."""
    # these two would read as another class in predictions and confusion tables
    for name in classes:
        if "|" in name or name == "none":
            raise PydanticCustomError(
                "class_names",
                "Expected names without `|`, which joins the names of several classes, and none "
                "called `none`, which is a patch without any",
            )
    if len(classes) > MAX_CLASSES:
        raise PydanticCustomError(
            "class_number",
            "It has {count} classes, at most {most} fit into masks of 8 bits; merge rare classes",
            {"count": len(classes), "most": MAX_CLASSES},
        )
    return classes


Classes = Annotated[
    dict[str, Annotated[int, Field(ge=0, le=65535)]],  # as large as a mask of 16 bits can hold
    AfterValidator(_check_classes),
]
"""Values in masks by the name of the class."""
