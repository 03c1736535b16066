"""Check params.yaml, and list the user's files of each source, before DVC removes any output.

python stages/check.py OUT
"""

import json
from pathlib import Path

from eocontrast.config.backbones import check_backbones
from eocontrast.config.inputs import input_digests
from eocontrast.config.params import load_params
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.runtime.stage import run_stage

BACK = (
    "No output was removed. `git restore params.yaml` takes back all changes to the parameters: "
    "`dvc exp run` keeps what -S has set."
)


def main(out: Path) -> None:
    try:
        params = load_params()
        check_backbones(params, out / "backbones.json")
    except UserError as error:
        raise UserError(f"{error}\n{BACK}") from error
    for source, digests in input_digests(params.sources).items():
        write_text(out / f"{source}.json", json.dumps(digests, indent=1) + "\n")
    # that the names were checked; the stage of each depends on its own entry in params.yaml
    write_text(out / "published.json", json.dumps({"checked": True}) + "\n")


if __name__ == "__main__":
    run_stage("check", main)
