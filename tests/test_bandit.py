import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_finding_of_bandit_is_mended_or_answered_where_it_is() -> None:
    """Answers are the `skips` of pyproject.toml, and `nosec` with a reason beside it."""
    command = [sys.executable, "-m", "bandit", "-q", "-r", "-c", "pyproject.toml", "src", "stages"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
