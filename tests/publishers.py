"""Parameters of sources whose archives are served on this machine."""

from __future__ import annotations

from pathlib import Path

from eocontrast.config.sources import BigEarthNetParams, DFC2020Params, Season, SEN12MSParams
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore

SEASONS: tuple[Season, ...] = ("spring", "summer")


def seasons(url: str, published: Path, **fields: object) -> SEN12MSParams:
    """Parameters of SEN12MS for archives served at a URL."""
    return SEN12MSParams.model_validate(
        {
            "path": None,
            "url": url,
            "md5s": published / "md5sums",
            "seasons": SEASONS,
            "splits": None,
            "find_overlaps": True,
            **fields,
        }
    )


def mirrored(**fields: object) -> DFC2020Params:
    """Parameters of DFC2020 with these fields."""
    defaults = {"path": None, "url": "ftp://127.0.0.1", "md5s": None, "train": "test"}
    return DFC2020Params.model_validate(
        {**defaults, "splits": None, "find_overlaps": True, **fields}
    )


def reben(**fields: object) -> BigEarthNetParams:
    """Parameters of BigEarthNet with these fields."""
    defaults = {"path": "sample", "url": "http://127.0.0.1", "md5s": None}
    choice = {"countries": (), "tiles": (), "flagged": "keep", "classes": "level_1"}
    return BigEarthNetParams.model_validate({**defaults, **choice, **fields})


def stored(folder: Path) -> PatchStore:
    """Build the store of the manifest in a folder."""
    build_store(
        folder,
        folder / "store",
        folder / "audit.json",
        seed=0,
        test_fraction=0.3,
        shard_mib=1,
        max_bad_fraction=0,
        check_shift=False,
    )
    return PatchStore(folder / "store")
