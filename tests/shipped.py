"""The parameters that tests start from, whatever a user changed in the project's own files."""

from __future__ import annotations

from pathlib import Path

PARAMS = Path(__file__).parent / "params.yaml"
"""A copy of the shipped params.yaml; `.ci/run` compares the two in the commit."""
