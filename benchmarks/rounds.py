"""Ways to do the same, measured in turns: a busy machine slows down all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Ways = Mapping[str, Callable[[], int]]
"""By name what does the work, and returns how much it did."""

Rates = dict[str, list[float]]
"""Items a second of each way in each round."""


def in_turns(ways: Ways, rounds: int, before: Callable[[], object] = lambda: None) -> Rates:
    """What each way does a second in each round, after one round that warms up.

    Args:
        ways: what to measure.
        rounds: how often, each.
        before: what to do before each, off the clock.
    """
    rates: Rates = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, work in ways.items():
            before()
            start = time.perf_counter()
            done = work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            rates[name].append(done / (time.perf_counter() - start))
    return {name: values[1:] for name, values in rates.items()}


def print_rates(title: str, rates: Rates) -> None:
    """Minimum, median and maximum of each way."""
    print(f"{title:24}{'min':>12}{'median':>12}{'max':>12}")
    for name, values in rates.items():
        numbers = (min(values), statistics.median(values), max(values))
        print(f"{name:24}" + "".join(f"{number:12.1f}" for number in numbers))


def ratio(rates: Rates, one: str, other: str) -> str:
    """How many times as fast `one` is, round by round: median (minimum to maximum)."""
    ratios = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def machine() -> str:
    """Processor, cores, memory, load and GPU, in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if "model name" in line), "unknown")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory:.0f} GiB, "
        f"{gpu}; torch {torch.__version__}, Python {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f}"
    )
