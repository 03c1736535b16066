"""Put the rasters of one source on disk, with a manifest and a declaration of what they are."""

from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.config.sources import SourceName
from eocontrast.runtime.stage import run_stage
from eocontrast.sources.catalogue import check_paths, fetch_source
from eocontrast.sources.download.transfer import without_credentials
from eocontrast.tracking.tracker import Tracker


def main(name: SourceName, rasters: Path, manifests: Path) -> None:
    params, tracker = load_params(), Tracker("download")
    used = (params.data.pretrain, params.data.finetune)
    check_paths({source: rasters.with_name(source) for source in used}, params.sources)
    keep = params.data.keep_archives
    source = fetch_source(name, rasters, manifests, params.sources, keep_archives=keep)
    described = getattr(params.sources, name).model_dump(mode="json")
    if "url" in described:  # MLflow may be shared
        described["url"] = without_credentials(described["url"])
    with tracker.stage_run(f"download@{name}", {"source": name, **described}) as run:
        run.log({"pairs": len(source.manifest)})
        run.file(manifests / "source.json")
        for report in sorted(manifests.glob("report.*")):  # of a catalogue, as a table and a map
            run.file(report)
    print(f"{len(source.manifest)} pairs of {name}, listed in {manifests}")


if __name__ == "__main__":
    run_stage("download", main)
