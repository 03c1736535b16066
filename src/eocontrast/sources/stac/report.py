"""The outcome of every requested patch, as JSON and as a map."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from eocontrast.runtime.files import whole, write_text
from eocontrast.sources.stac.patches import Patch
from eocontrast.sources.stac.record import Record

FOUND = "pair"
_COLOURS = ("#009e73", "#d55e00", "#0072b2", "#cc79a7", "#e69f00", "#000000")
"""Colours of Okabe and Ito, which people with colour blindness tell apart."""


def write_report(folder: Path, patches: Sequence[Patch], records: Sequence[Record]) -> None:
    """Write `report.json` and `report.png`, and print a summary."""
    causes = [record.cause or FOUND for record in records]
    counts = {cause: causes.count(cause) for cause in sorted(set(causes))}
    found = [record for record in records if not record.cause]
    summary = {
        "asked": len(records),
        "found": len(found),
        "gaps": {cause: count for cause, count in counts.items() if cause != FOUND},
        "days_apart": _spread([record.days_apart for record in found]),
        "unclear": _spread([record.unclear for record in found]),
        "offset_contradicted": sorted(_contradicted(found)),
        "patches": [asdict(record) for record in records],
    }
    write_text(folder / "report.json", json.dumps(summary, indent=1) + "\n")
    _draw(folder / "report.png", patches, causes, counts)
    gaps = ", ".join(f"{count} {cause}" for cause, count in counts.items() if cause != FOUND)
    print(f"{len(found)} of {len(records)} patches have a pair; gaps: {gaps or 'none'}")


def _contradicted(records: Sequence[Record]) -> set[str]:
    return {
        name
        for record in records
        for name, decision in record.offsets.items()
        if decision["stated"] is not None and decision["stated"] != decision["present"]
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    shares = {"least": 0, "median": 50, "most": 100}
    return {name: round(float(np.percentile(values, q)), 4) for name, q in shares.items()}


def _draw(
    path: Path, patches: Sequence[Patch], causes: Sequence[str], counts: dict[str, int]
) -> None:
    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    order = [FOUND, *(cause for cause in counts if cause != FOUND)]
    for number, cause in enumerate(order):
        shapes = [
            Polygon(np.array(patch.footprint.exterior.coords))
            for patch, own in zip(patches, causes, strict=True)
            if own == cause
        ]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.add_collection(PatchCollection(shapes, facecolor=colour, edgecolor="white", lw=0.3))
        axes.plot([], [], "s", color=colour, label=f"{cause} ({counts.get(cause, 0)})")
    axes.autoscale_view()
    # degrees as a map has them, and not their difference from the first one
    axes.ticklabel_format(useOffset=False)
    latitude = np.mean([patch.footprint.centroid.y for patch in patches])
    # stretch latitude: a degree of longitude shrinks by the cosine
    axes.set_aspect(1 / max(np.cos(np.radians(latitude)), 0.1))
    axes.set_xlabel("longitude")
    axes.set_ylabel("latitude")
    figure.legend(loc="outside lower center", ncols=2)
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
