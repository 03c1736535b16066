"""The table of pairs that each source of rasters provides.

A source is a module with `fetch(folder, params) -> Source`. Later stages read only the manifest and
the declaration that `Source.write` leaves in a small folder, so that DVC need not hash the rasters.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from eocontrast.modalities import Modality, Sensor
from eocontrast.rasters.masks import MaskKind
from eocontrast.rasters.values import AUTOMATIC, Declared
from eocontrast.runtime.errors import COMES_BACK, UserError, readable
from eocontrast.runtime.files import write_text

COLUMNS = ("id", "s1", "s2", "label", "group", "split")
CLASSES = "classes"
"""Optional column: published names of all classes of a patch that has a mask."""
SHAPES = "shapes"
"""Optional column: numbers of the polygons or points that label a patch, joined by spaces."""
SPLITS = ("pretrain", "train", "test")
_AGAIN = f"run `dvc repro -f download`{COMES_BACK}"


@dataclass(frozen=True)
class Source:
    """Rasters on disk and the meaning of their values.

    Attributes:
        s1: Bands and units of Sentinel-1.
        s2: Bands and units of Sentinel-2.
        classes: Value in the masks by class name, in the order of the class indices.
        palette: `#rrggbb` by class name.
        manifest: Columns `id, s1, s2, label, group, split`, one row per patch. Paths are absolute
            or relative to `rasters`; `{band}` in a path stands for one file per band. `label` is a
            mask raster, a class name, or empty. `group` names what must not be split, such as a
            scene. `split` is `pretrain` (never scored), `train`, `test`, or empty. An optional
            column `classes` names all classes of a patch with a mask, joined by `|`: the targets of
            multi-label tasks where the data set publishes them beside the masks. Another, `shapes`,
            numbers the polygons or points that a patch's mask was drawn from.
        rasters: Folder relative to the working directory; the folder of the manifest if None.
        name: Name of the data set, for model cards.
        licence: Licence of the data set, for model cards.
        files: What the user declares about no-data values and offsets, by sensor; empty for
            published archives.
        masks: Class values in one band, or one band per class in the order of `classes`.
    """

    s1: Modality
    s2: Modality
    classes: dict[str, int]
    palette: dict[str, str]
    manifest: pd.DataFrame
    rasters: Path | None = None
    name: str = "unknown"
    licence: str = "unknown"
    files: dict[Sensor, Declared] = field(default_factory=dict)
    masks: MaskKind = "values"

    @property
    def modalities(self) -> dict[Sensor, Modality]:
        """Modality by sensor."""
        return {"s1": self.s1, "s2": self.s2}

    def declared(self, sensor: Sensor) -> Declared:
        """Return what the user declares about the files of a sensor."""
        return self.files.get(sensor, AUTOMATIC)

    def write(self, folder: Path) -> None:
        """Write `manifest.csv` and `source.json` to `folder`."""
        table = self.manifest.to_csv(index=False, columns=_columns(self.manifest))
        write_text(folder / "manifest.csv", table)
        declaration = asdict(self)
        del declaration["manifest"]
        if not self.files:
            del declaration["files"]
        if self.masks == "values":
            del declaration["masks"]
        declaration["rasters"] = None if self.rasters is None else self.rasters.as_posix()
        # classes keep their order: it is the order of the class indices
        write_text(folder / "source.json", json.dumps(declaration, indent=1) + "\n")


def _columns(manifest: pd.DataFrame) -> list[str]:
    return [*COLUMNS, *(column for column in (CLASSES, SHAPES) if column in manifest)]


def read_source(folder: Path) -> Source:
    """Read the files that `Source.write` wrote to `folder`.

    Raises:
        UserError: a file is missing or damaged.
    """
    for name in ("manifest.csv", "source.json"):
        if not (folder / name).exists():
            raise UserError(f"{folder / name} is missing: run `dvc repro download` first")
    with readable(f"{folder} is damaged: manifest.csv", _AGAIN):
        # keep text: pandas would read the id 007 as 7, and a class called NA as missing
        manifest = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
        manifest = manifest[_columns(manifest)]
    if manifest.empty:
        raise UserError(f"{folder / 'manifest.csv'} has no rows: run `dvc repro -f download`")
    with readable(f"{folder} is damaged: source.json", _AGAIN):
        declaration = json.loads((folder / "source.json").read_text())
        for sensor in ("s1", "s2"):
            fields = declaration[sensor]
            low, high = fields["valid_range"]
            declaration[sensor] = Modality(tuple(fields["bands"]), fields["units"], (low, high))
        declaration["rasters"] = Path(declaration["rasters"] or folder)
        files = declaration.get("files", {})
        declaration["files"] = {sensor: Declared.of(**fields) for sensor, fields in files.items()}
        return Source(manifest=manifest, **declaration)
