"""Commit, machine and date of a result, which its own bytes must not hold."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime

from eocontrast.runtime.machine import torch_version

COMMIT_TAG = "mlflow.source.git.commit"


def provenance(hardware: str, seconds: float) -> dict[str, str]:
    """Return the origin of a weight file, for its model card."""
    return {
        "commit": origin()[COMMIT_TAG],
        "hardware": hardware,
        "torch": torch_version(),
        "seconds": f"{seconds:.0f}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def origin() -> dict[str, str]:
    """Return the commit of the code, and the DVC experiment if there is one, as MLflow's tags."""
    tags = {"dvc.experiment": os.environ.get("DVC_EXP_NAME", "")}
    try:
        # the user's own git, with constant arguments
        commit = subprocess.run(  # nosec B603 B607
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        tags[COMMIT_TAG] = commit
    except (OSError, subprocess.CalledProcessError):
        tags[COMMIT_TAG] = "unknown"  # not a git checkout
    return {key: value for key, value in tags.items() if value}
