"""The parameters of the sources: where rasters lie, and what they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from eocontrast.config.catalogues import StacParams
from eocontrast.config.labels import Classes, LabelsParams
from eocontrast.config.schema import PositiveInt, Section, Seed, or_word
from eocontrast.modalities import Modality, Units
from eocontrast.rasters.masks import MaskKind
from eocontrast.rasters.values import Declared

SourceName = Literal[
    "simulated", "bigearthnet", "sen12ms", "ssl4eo", "dfc2020", "ombria", "manifest", "stac"
]


Season = Literal["spring", "summer", "fall", "winter"]


Split = Literal["pretrain", "train", "test"]


Fetched = Annotated[Path | None, or_word("fetch")]
"""Your copy of a published data set, or `fetch` to download it."""


Digests = Annotated[Path | None, or_word("publisher")]
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
    `labelled_scene_size` for training and testing. `test_patches` of each test scene are kept, or
    all if it is 0.
    """

    seed: Seed
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    scene_size: Annotated[int, Field(ge=1, le=64)]
    labelled_scene_size: Annotated[int, Field(ge=1, le=64)]
    pretrain_scenes: PositiveInt
    train_scenes: PositiveInt
    test_scenes: PositiveInt
    test_patches: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _refuse_more_patches_than_there_are(self) -> SimulatedParams:
        there = self.labelled_scene_size**2
        if self.test_patches > there:
            raise PydanticCustomError(
                "test_patches",
                "test_patches is {asked}, but a test scene has {there} patches "
                "(labelled_scene_size along each side): keep fewer, or 0 for all",
                {"asked": self.test_patches, "there": there},
            )
        return self


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


class SSL4EOParams(Section):
    """Folder or address of SSL4EO-S12 v1.1, and the part of it to use.

    `md5s` is a file with digests in place of those that the server states. `shards` are numbers in
    the names of files, all of the part if empty; `seasons` are images of a place by date. `level`
    is that of Sentinel-2, `offset` what is added to its values, by content if `auto`, and
    `max_cloud` the largest share of a patch without a clear view.
    """

    path: Fetched
    url: Address
    md5s: Annotated[Path | None, or_word("server")]
    part: Literal["val", "train"]
    shards: tuple[PositiveInt, ...]
    # count from 0: each place has four images, ordered by date
    seasons: Annotated[tuple[Annotated[int, Field(ge=0, le=3)], ...], Field(min_length=1)]
    level: Literal["L1C", "L2A"]
    # allow no other number: ESA adds 1000 since baseline 04.00, and nothing before
    offset: Literal["auto", 0, -1000]
    max_cloud: Annotated[float, Field(ge=0, le=1)]


_DFC2020 = "https://huggingface.co/datasets/wangyi111/Copernicus-Bench/resolve/main/l2_dfc2020_s1s2"
"""Longer than the 80 columns at which `dvc exp run -S` wraps a line of params.yaml."""


class DFC2020Params(Section):
    """Folder or address of DFC2020, and the half of it that is trained on.

    `validation` trains on the 986 patches of that name and tests on the 5,128 called `test`,
    as in P2; `test` is the opposite, as in P1. `splits` names lists that replace the halves. With
    `find_overlaps`, patches that share ground are one group.
    """

    path: Fetched
    url: Annotated[Address, BeforeValidator(lambda v: _DFC2020 if v == "publisher" else v)]
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


class ManifestParams(Section):
    """Your own pairs.

    `classes` maps a class name to its value in mask rasters. If it is empty, the classes are those
    of the vector file of labels. With `find_overlaps`, patches that share ground are one group.
    `masks` says if mask rasters hold class values, or one band per class (`one_hot`).
    """

    path: Path
    s1: ModalityParams
    s2: ModalityParams
    classes: Classes
    labels: LabelsParams
    find_overlaps: bool = True
    masks: MaskKind = "values"


class SourcesParams(Section):
    """One entry per source."""

    simulated: SimulatedParams
    bigearthnet: BigEarthNetParams
    sen12ms: SEN12MSParams
    ssl4eo: SSL4EOParams
    dfc2020: DFC2020Params
    ombria: OmbriaParams
    manifest: ManifestParams
    stac: StacParams
