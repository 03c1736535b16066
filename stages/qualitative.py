"""Draw what the segmenters of the curve say of a few test patches.

python stages/qualitative.py STORE OUT.png BASELINE SCRATCH FINETUNED
"""

import sys
from pathlib import Path

from eocontrast.devices import accelerator
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import point_file
from eocontrast.qualitative import (
    class_maps,
    draw_nothing,
    draw_qualitative,
    varied_patches,
)
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(patches: Path, out: Path, *models: Path) -> None:
    params = load_params()
    chosen = params.qualitative
    store, device = PatchStore(patches), accelerator(params.precision)
    files = [point_file(folder, chosen.fraction, chosen.seed) for folder in models]
    columns = {folder.name: [file] for folder, file in zip(models, files, strict=True)}
    columns["ensemble"] = [files[0], files[-1]]
    if not store.has_masks:  # classes by patch: the segmenters were left out
        draw_nothing("no masks: nothing was segmented", out)
        return
    rows = varied_patches(store, chosen.patches)
    draw_qualitative(class_maps(columns, store, rows, device), store, rows, out)
    with Tracker("qualitative").start("qualitative", chosen.model_dump()) as run:
        run.file(out)


if __name__ == "__main__":
    with stage("qualitative"):
        main(*map(Path, sys.argv[1:]))
