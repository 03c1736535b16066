"""The parameters of labels that come as one file, and of class names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_core import PydanticCustomError

from eocontrast.config.schema import Section


class LabelsParams(Section):
    """A file of labels for all patches: polygons or points with a class column, or a raster.

    A vector file without features labels nothing.
    """

    path: Path
    class_column: str


ClassValues = dict[str, Annotated[int, Field(ge=0, le=65535)]]


def refuse_ambiguous(classes: ClassValues) -> ClassValues:
    """Refuse names that stand for several classes, or for none."""
    # these two would read as another class in predictions and confusion tables
    for name in classes:
        if "|" in name or name == "none":
            raise PydanticCustomError(
                "class_names",
                "Expected names without `|`, which joins the names of several classes, and none "
                "called `none`, which is a patch without any",
            )
    return classes
