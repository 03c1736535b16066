"""What the stages took and what they ran on, as the page of results tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eocontrast.config.params import Params

if TYPE_CHECKING:  # MLflow's import takes seconds
    from eocontrast.tracking.runs import StageTime

Times = Mapping[str, "StageTime | None"]

NOTHING = "\N{EN DASH}"


def stage_names(params: Params) -> tuple[str, ...]:
    """The stages before the report, as DVC calls them, in the order of dvc.yaml."""
    sources = dict.fromkeys((params.data.pretrain, params.data.finetune))
    return (
        *(f"download@{source}" for source in sources),
        *(f"normalise@{source}" for source in sources),
        *(f"pretrain@{run}" for run in params.pretrain.runs),
        "finetune",
        "evaluate",
        *(f"finetune_grid@{cell}" for cell in params.label_curve.cells),
        "evaluate_grid",
        "qualitative",
        "label_curve",
    )


def table_of(times: Times) -> dict[str, Any]:
    """What the template of the table takes.

    Args:
        times: by stage; None of one that is not known to have run.
    """
    seconds = [time.seconds for time in times.values() if time]
    longest = max(seconds, default=1.0)
    return {
        "rows": [_row(name, time, longest) for name, time in times.items()],
        "in_all": duration(sum(seconds)) if seconds else "",
        "lacking": len(seconds) < len(times),
    }


def _row(name: str, time: StageTime | None, longest: float) -> dict[str, Any]:
    if time is None:
        return {"name": name, "took": NOTHING, "share": 0, "cells": [NOTHING] * 4}
    cells = [time.date, time.hardware, time.torch, time.commit[:8]]
    share = round(time.seconds / longest, 3)
    return {"name": name, "took": duration(time.seconds), "share": share, "cells": cells}


def duration(seconds: float) -> str:
    """In the two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
