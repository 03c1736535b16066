"""Put the rasters of one source on disk, with a manifest and a declaration of what they are."""

import sys
from pathlib import Path
from typing import cast

from eocontrast.params import SourceName, load_params
from eocontrast.sources.catalogue import fetch_source
from eocontrast.stage import stage


def main(name: SourceName, folder: Path) -> None:
    source = fetch_source(name, folder, load_params().sources)
    print(f"{len(source.manifest)} pairs of {name} in {folder}")


if __name__ == "__main__":
    with stage("download"):
        main(cast("SourceName", sys.argv[1]), Path(sys.argv[2]))
