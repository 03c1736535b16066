"""The parameters of the sources: where rasters lie, and what they are."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from eocontrast.config.schema import PositiveFloat, PositiveInt, Section, Seed, Share
from eocontrast.labels import MAX_CLASSES
from eocontrast.modalities import Modality, Units
from eocontrast.rasters.values import Declared

SourceName = Literal["simulated", "bigearthnet", "sen12ms", "dfc2020", "ombria", "manifest", "stac"]


Season = Literal["spring", "summer", "fall", "winter"]


Split = Literal["pretrain", "train", "test"]


def _or_word(word: str) -> BeforeValidator:
    """Read a word of params.yaml as None; `dvc exp run -S` would rewrite each `null` as a blank."""
    return BeforeValidator(lambda value: None if value == word else value)


Fetched = Annotated[Path | None, _or_word("fetch")]
"""Your copy of a published data set, or `fetch` to download it."""


Digests = Annotated[Path | None, _or_word("publisher")]
"""A file that md5sum wrote, or `publisher` for the digests that come with the project."""


def _refuse_other_lists(value: object) -> object:
    if value == "none":
        return None
    files = value if isinstance(value, dict) else {"test": value}
    known = files and set(files) <= set(get_args(Split))
    if value is None or (known and all(isinstance(x, str | Path) for x in files.values())):
        return value
    # one message, where the union would have one a member
    raise PydanticCustomError(
        "split_lists",
        "Expected none, a file that lists the test patches, or one file a split: pretrain, train, "
        "test",
    )


SplitLists = Annotated[Path | dict[Split, Path] | None, BeforeValidator(_refuse_other_lists)]
"""A list of test patches, one list per split, or none."""


class SimulatedParams(Section):
    """Number and size of the scenes.

    A scene is a square of adjacent patches, `scene_size` along each side for pretraining and
    `labelled_scene_size` for training and testing.
    """

    seed: Seed
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    scene_size: Annotated[int, Field(ge=1, le=64)]
    labelled_scene_size: Annotated[int, Field(ge=1, le=64)]
    pretrain_scenes: PositiveInt
    train_scenes: PositiveInt
    test_scenes: PositiveInt


def _refuse_no_address(value: str) -> str:
    if not re.fullmatch(r"(ftp|ftps|http|https)://[^\s/]\S*", value):
        raise PydanticCustomError(
            "address",
            "Expected the address of the folder that holds the archives, over ftp, ftps, http or "
            "https, such as https://host/folder",
        )
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_refuse_no_address)]
"""Address of a folder of archives, without a slash at its end."""


class BigEarthNetParams(Section):
    """Folder or address of reBEN, the part of it to use, and the classes.

    `sample` is the pairs that two packages contain, and `fetch` the archives at `url`. `countries`
    and `tiles` are as in `metadata.parquet`, and both apply. `flagged` patches show seasonal snow,
    clouds or cloud shadows; the official split leaves them out.
    """

    path: Literal["sample", "fetch"] | Path
    url: Address
    md5s: Digests
    countries: tuple[str, ...]
    tiles: tuple[str, ...]
    flagged: Literal["keep", "pretrain", "leave_out"]
    classes: Literal["level_1", "nineteen"]


class SEN12MSParams(Section):
    """Folder or address of SEN12MS, its seasons, and the patches to leave out of training.

    Without a path the archives of these seasons are fetched from `url`; `md5s` is a file with their
    digests in place of the publisher's. `find_overlaps` joins groups that share ground, for which
    every Sentinel-2 raster is read.
    """

    path: Fetched
    url: Address
    md5s: Digests
    seasons: Annotated[tuple[Season, ...], Field(min_length=1)]
    splits: SplitLists
    find_overlaps: bool

    @model_validator(mode="after")
    def _no_season_twice(self) -> SEN12MSParams:
        if len(set(self.seasons)) != len(self.seasons):
            raise ValueError(f"sources.sen12ms.seasons names one twice: {', '.join(self.seasons)}")
        return self


class DFC2020Params(Section):
    """Folder or address of DFC2020, and the half of it that is trained on.

    `validation` trains on the 986 patches of that name and tests on the 5,128 called `test`,
    as in P2; `test` is the opposite, as in P1. `splits` names lists that replace the halves. With
    `find_overlaps`, patches that share ground are one group.
    """

    path: Fetched
    url: Address
    md5s: Digests
    train: Literal["validation", "test"]
    splits: SplitLists
    find_overlaps: bool


class OmbriaParams(Section):
    """Folder or address of OMBRIA, and its split.

    Without a path the archive of a commit is fetched from `url`. `split` is the published one, or
    holds out whole regions of adjacent tiles, which `find_overlaps` finds.
    """

    path: Literal["none"] | Path
    url: Address
    split: Literal["published", "regions"]
    find_overlaps: bool


class ModalityParams(Section):
    """Bands, units and valid range of your own rasters, their no-data values and offset."""

    bands: tuple[str, ...]
    units: Units
    valid_range: tuple[float, float]
    nodata: Literal["auto", "none"] | float | tuple[float, ...] = "auto"
    offset: Literal["auto"] | float = "auto"

    def modality(self) -> Modality:
        """Return the modality after its checks.

        Raises:
            UserError: no bands, a band twice, or a range that does not rise.
        """
        return Modality(self.bands, self.units, self.valid_range)

    def files(self) -> Declared:
        """Return what the user declares about the files."""
        return Declared.of(self.nodata, self.offset)


class LabelsParams(Section):
    """A file of labels for all patches: polygons or points with a class column, or a raster.

    A vector file without features labels nothing.
    """

    path: Path
    class_column: str


ClassValues = dict[str, Annotated[int, Field(ge=0, le=65535)]]


def _refuse_ambiguous(classes: ClassValues) -> ClassValues:
    for name in classes:
        if "|" in name or name == "none":
            raise PydanticCustomError(
                "class_names",
                "Expected names without `|`, which joins the names of several classes, and none "
                "called `none`, which is a patch without any",
            )
    return classes


class CollectionParams(Section):
    """A collection of a STAC API.

    `assets` maps a band to the name of its asset, `headers` a header of HTTP to the environment
    variable that holds its value. `units` are those of the pixels.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    collection: str
    assets: dict[str, str]
    units: Units
    scene_classification: Annotated[str | None, _or_word("none")]
    signing: Literal["none", "planetary_computer"]
    headers: dict[str, str]


class OwnCatalogParams(Section):
    """A collection per sensor; both may lie in one API or in two."""

    s1: CollectionParams
    s2: CollectionParams


Preset = Literal["planetary_computer", "earth_search", "copernicus"]


def _days(text: str) -> tuple[date, date]:
    """Return the first and the last day of a date such as 2023-05-01, or of a month."""
    if re.fullmatch(r"\d{4}-\d\d", text):
        first = date.fromisoformat(f"{text}-01")
        return first, first.replace(day=monthrange(first.year, first.month)[1])
    return date.fromisoformat(text), date.fromisoformat(text)


def _order(dates: tuple[str, ...]) -> tuple[str, ...]:
    ranges = []
    for text in dates:
        try:
            (first, _), (_, last) = (_days(part) for part in text.split("/"))
        except ValueError:
            raise PydanticCustomError(
                "dates",
                "Expected ranges such as 2023-05-01/2023-09-30 or 2023-05/2023-09, found {range}",
                {"range": text},
            ) from None
        if first > last:
            raise PydanticCustomError(
                "dates",
                "Expected ranges that begin before they end, found {range}",
                {"range": text},
            )
        ranges.append(f"{first}/{last}")
    return tuple(ranges)


class StacParams(Section):
    """Pairs from a catalogue: where, when, how many and how clear.

    `max_cloud` is the largest share of a patch without a clear view, and `patches` the most that
    are fetched; those that touch labels come first. Patches of a block of `block_km` form a group.
    """

    catalog: Preset | OwnCatalogParams
    area: Path
    dates: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_order)]
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    orbit: Literal["ascending", "descending"]
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    patches: PositiveInt
    max_cloud: Share
    max_days_apart: Annotated[float, Field(ge=0, le=60)]
    block_km: PositiveFloat
    seed: Seed
    classes: Annotated[ClassValues, AfterValidator(_refuse_ambiguous)]
    labels: LabelsParams


class ManifestParams(Section):
    """Your own pairs.

    `classes` maps a class name to its value in mask rasters. If it is empty, the classes are those
    of the vector file of labels. With `find_overlaps`, patches that share ground are one group.
    """

    path: Path
    s1: ModalityParams
    s2: ModalityParams
    classes: dict[str, Annotated[int, Field(ge=0, le=65535)]]
    labels: LabelsParams
    find_overlaps: bool = True

    @field_validator("classes")
    @classmethod
    def _names_are_told_apart(cls, classes: dict[str, int]) -> dict[str, int]:
        for name in classes:
            if "|" in name or name == "none":
                raise ValueError(
                    f"sources.manifest.classes has {name!r}: `|` joins the names of several "
                    "classes, and `none` is a patch without any; use another name"
                )
        if len(classes) > MAX_CLASSES:
            raise ValueError(
                f"sources.manifest.classes has {len(classes)} classes, at most {MAX_CLASSES} fit "
                "into masks of 8 bits; merge rare classes"
            )
        return classes


class SourcesParams(Section):
    """One entry per source."""

    simulated: SimulatedParams
    bigearthnet: BigEarthNetParams
    sen12ms: SEN12MSParams
    dfc2020: DFC2020Params
    ombria: OmbriaParams
    manifest: ManifestParams
    stac: StacParams
