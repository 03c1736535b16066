"""Build the patch store of one source from its rasters."""

import sys
from pathlib import Path

from eocontrast.normalisation import build_store
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(manifests: Path, folder: Path, audit: Path) -> None:
    params = load_params().normalise
    counts = build_store(manifests, folder, audit, **params.model_dump())
    tags = {"data.digest": PatchStore(folder).digest}
    with Tracker("normalise").start(f"normalise {folder.name}", params.model_dump(), tags) as run:
        run.log({f"patches.{name}": number for name, number in counts.items()})
        run.file(audit)
    print(", ".join(f"{number} {name}" for name, number in counts.items()))


if __name__ == "__main__":
    with stage("normalise"):
        main(*map(Path, sys.argv[1:]))
