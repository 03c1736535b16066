"""Try settings on data that will not be reported (docs/evaluation.md, "How arms were tuned").

Not part of the graph: run it in a second clone with another `sources.simulated.seed`, after
`dvc repro pretrain`, and carry what it finds over to params.yaml.

python stages/tune.py arms PATCHES OUT.csv PRETRAINED [ARM ...]
python stages/tune.py pretraining PATCHES OUT.csv [INIT ...]
"""

from pathlib import Path
from typing import Literal

import pandas as pd

from eocontrast.cli.tune import try_arms, try_pretraining
from eocontrast.config.params import load_params
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.runtime.stage import run_stage


def main(what: Literal["arms", "pretraining"], patches: Path, out: Path, *given: str) -> None:
    if what == "arms":
        if not given:
            raise UserError("arms start from weights: name their folder, models/pretrained")
        tried = try_arms(load_params(), patches, Path(given[0]), given[1:])
    else:
        tried = try_pretraining(load_params(), patches, given)
    rows = []
    for row in tried:
        rows.append(row)
        print(row, flush=True)
        write_text(out, pd.DataFrame(rows).round(4).to_csv(index=False))


if __name__ == "__main__":
    run_stage("tune", main)
