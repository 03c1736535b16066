"""Audit rules for the scale of values, which the patches of a data set show together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eocontrast.modalities import Modality, Sensor
from eocontrast.normalisation.audit import Finding, Severity
from eocontrast.normalisation.pairs import Patch
from eocontrast.rasters.levels import Levels, doubt, swapped
from eocontrast.rasters.source import Source

SHARE = 0.25
"""Share of patches that must show it. Towns, wind and algae do so in 1 % of simulated patches."""


def audit_scales(source: Source, patches: Sequence[Patch]) -> Iterator[Finding]:
    """Yield findings on patches whose values can hardly be on the declared scale."""
    worst: Severity = "error" if source.files else "warning"
    for sensor, modality in source.modalities.items():
        every = _known(patches, sensor)
        turned = [name for name, each in every.items() if swapped(each)]
        if turned:
            # fewer are doubtful: files of another order, or painted ground
            most = 2 * len(turned) > len(every)
            why = swapped(_middle([every[name] for name in turned])) or swapped(every[turned[0]])
            message = f"{sensor} in {len(turned)} of {len(every)} patches: {why}; correct `bands`"
            level = worst if most else "warning"
            yield from (Finding(name, "bands", level, message) for name in turned)
            if most:
                continue
        right = {name: each for name, each in every.items() if name not in turned}
        # patches without land count only if none has land
        land = {name: each for name, each in right.items() if each.kind == "land"}
        known = land or right
        doubts = {name: found for name, each in known.items() if (found := doubt(each))}
        if not doubts or len(doubts) < SHARE * len(known):
            continue
        sure = 2 * sum(found.certain for found in doubts.values()) >= len(doubts)
        message = _message(sensor, modality, [known[name] for name in doubts], len(known))
        severity: Severity = worst if sure else "warning"
        yield from (Finding(name, "scale", severity, message) for name in doubts)


def _known(patches: Sequence[Patch], sensor: Sensor) -> dict[str, Levels]:
    """Return typical values by patch."""
    held = {p.id: found for p in patches if (found := p.evidence.get("levels", {}).get(sensor))}
    return {name: Levels(**fields) for name, fields in held.items()}


def _message(sensor: Sensor, modality: Modality, doubted: list[Levels], patches: int) -> str:
    middle = _middle(doubted)
    # the medians of all doubted patches are doubtful too, or else those of the first are shown
    found = doubt(middle) or doubt(doubted[0])
    assert found is not None
    return (
        f"{sensor} is declared as {modality.units}, but {len(doubted)} of {patches} patches have "
        f"{found.text}. Convert the values, or correct `units`"
    )


def _middle(known: list[Levels]) -> Levels:
    """Return the medians of patches of the most frequent kind."""
    kind, _ = Counter(each.kind for each in known).most_common(1)[0]
    fields = ("level", "other", "ratio", "spread")
    same = [[getattr(each, name) for name in fields] for each in known if each.kind == kind]
    middle = dict(zip(fields, np.median(same, axis=0).tolist(), strict=True))
    return replace(Levels(kind, 0, 0, 0, 0), **middle)
