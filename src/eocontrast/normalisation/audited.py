"""What is to be known of a patch once its pixels are stored or left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import Finding
from eocontrast.normalisation.moments import Moments


@dataclass(frozen=True)
class Audited:
    """One row of the manifest.

    Attributes:
        id: of the patch.
        split: that it is in.
        findings: on it alone.
        size: height and width in pixels; () where it cannot be read.
        digests: of its stored pixels, by sensor.
        facts: its row of the index; empty where it was not stored.
        moments: by sensor; empty where it was not stored.
    """

    id: str
    split: str
    findings: list[Finding]
    size: tuple[int, ...]
    digests: dict[Sensor, str]
    facts: dict[str, Any]
    moments: dict[Sensor, Moments]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; floats come back to the last bit."""
        return {
            **vars(self),
            "findings": [finding.to_dict() for finding in self.findings],
            "moments": {s: [part.tolist() for part in m.parts] for s, m in self.moments.items()},
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Audited:
        """What `to_dict` gave."""
        parts = fields["moments"].items()
        return cls(
            **{
                **fields,
                "findings": [Finding(**finding) for finding in fields["findings"]],
                "size": tuple(fields["size"]),
                "moments": {sensor: Moments(*map(np.array, m)) for sensor, m in parts},
            }
        )
