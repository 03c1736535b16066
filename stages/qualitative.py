"""Draw what the segmenters of the curve say of a few test patches.

python stages/qualitative.py STORE OUT.png OUT.npz MODELS
"""

from pathlib import Path

import numpy as np

from eocontrast.config.params import load_params
from eocontrast.curve.maps import column_title, draw_nothing, draw_qualitative, write_maps
from eocontrast.evaluation.qualitative import class_maps, varied_patches
from eocontrast.models.point_files import point_file
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import accelerator, hardware


def main(patches: Path, out: Path, numbers: Path, models: Path) -> None:
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
    if store.has_masks:
        rows = varied_patches(store, chosen.patches)
        maps = class_maps(columns, store, rows, device)
        draw_qualitative(maps, store, rows, out)
    else:  # classes by patch: the segmenters were left out
        rows, maps = np.array([], dtype=np.int64), {}
        draw_nothing("no masks: nothing was segmented", out)
    write_maps(maps, store, rows, numbers)
    told = chosen.model_dump()
    with Tracker("qualitative").stage_run("qualitative", told, hardware=hardware()) as run:
        run.file(out)


if __name__ == "__main__":
    run_stage("qualitative", main)
