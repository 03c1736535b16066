"""Build the patch store of one source from its rasters."""

from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker


def main(manifests: Path, folder: Path, audit: Path) -> None:
    params, tracker = load_params(), Tracker("normalise")
    given = {**params.normalise.model_dump(), "fill_bands": params.fill_bands}
    finetuned = folder.name == params.data.finetune
    counts = build_store(manifests, folder, audit, **given, finetuned=finetuned)
    tags, told = {"data.digest": PatchStore(folder).digest}, params.normalise.model_dump()
    with tracker.stage_run(f"normalise@{folder.name}", told, tags) as run:
        run.log({f"patches.{name}": number for name, number in counts.items()})
        run.file(audit)
    print(", ".join(f"{number} {name}" for name, number in counts.items()))


if __name__ == "__main__":
    run_stage("normalise", main)
