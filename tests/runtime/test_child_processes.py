import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import os, subprocess, sys
code = "import os, sys, time; from eocontrast.runtime.child_processes import end_with; "
code += "end_with(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", code, sys.argv[1] if sys.argv[1:] else str(os.getpid())])
"""


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells children alone")
def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        limit = time.monotonic() + 10
        while alive(child) and time.monotonic() < limit:
            time.sleep(0.01)
        assert not alive(child)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells children alone")
def test_a_child_whose_parent_ended_before_it_began_ends_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT, "1"], stdout=subprocess.PIPE, timeout=50, check=True
    )
    assert not done.stdout
