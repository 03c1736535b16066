"""The machine that a process runs on, without torch, whose import takes seconds."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import psutil

_PROCESSORS = Path("/proc/cpuinfo")
"""Linux's own list; Python knows the architecture alone there."""


def processor() -> str:
    """Model of the processor, and how many cores this process may use."""
    told = _PROCESSORS.read_text() if _PROCESSORS.exists() else ""
    named = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)
    model = named[1].strip() if named else platform.processor() or platform.machine()
    return f"{model}, {_cores()} cores"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def torch_version() -> str:
    """Of the torch that is installed."""
    return version("torch")


def process_start() -> float:
    """When this process began, in seconds since 1970: imports count as work of a stage."""
    return float(psutil.Process().create_time())
