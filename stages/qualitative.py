"""Draw what the segmenters of the curve say of a few test patches.

python stages/qualitative.py STORE OUT.png MODELS
"""

from pathlib import Path

from eocontrast.devices import accelerator
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import point_file
from eocontrast.qualitative import (
    class_maps,
    column_title,
    draw_nothing,
    draw_qualitative,
    varied_patches,
)
from eocontrast.stage import run_stage
from eocontrast.tracking import Tracker


def main(patches: Path, out: Path, models: Path) -> None:
    params = load_params()
    chosen = params.qualitative
    store, device = PatchStore(patches), accelerator(params.precision)
    place = (chosen.fraction, chosen.seed)
    curve, columns = params.label_curve, {}
    names = (chosen.baseline, chosen.scratch, chosen.finetuned)
    files = {name: point_file(models / curve.folder(name), *place) for name in names}
    for name, file in files.items():
        title = column_title(curve.arms[name], params.pretrain.runs[curve.arms[name].init].method)
        columns[title] = [file]
    columns["ensemble"] = [files[chosen.baseline], files[chosen.finetuned]]
    if not store.has_masks:  # classes by patch: the segmenters were left out
        draw_nothing("no masks: nothing was segmented", out)
        return
    rows = varied_patches(store, chosen.patches)
    draw_qualitative(class_maps(columns, store, rows, device), store, rows, out)
    with Tracker("qualitative").start("qualitative", chosen.model_dump()) as run:
        run.file(out)


if __name__ == "__main__":
    run_stage("qualitative", main)
