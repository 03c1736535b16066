"""The parameters that tests start from, whatever a user changed in the project's own files."""

from __future__ import annotations

from pathlib import Path

from eocontrast.config.labels import LabelsParams

NO_LABELS = LabelsParams(path=Path("labels.geojson"), class_column="class")
"""Labels of a manifest that tests read without them."""

PARAMS = Path(__file__).parent / "params.yaml"
"""A copy of the shipped params.yaml; `.ci/run` compares the two in the commit."""
