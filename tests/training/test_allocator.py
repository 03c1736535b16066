"""Freed memory is there for the next tensor, with its pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNTED = """
import ctypes, resource, sys
from eocontrast.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
size = 48 * 2**20
if sys.argv[1] == "kept":
    keep_freed_memory()
def resident():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1]) * resource.getpagesize()

for number in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(size)
    libc.memset(piece, 1, size)
    faults, held = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
    libc.free(piece)
print(faults, held - resident())
"""


def fifth_piece(which: str) -> tuple[int, int]:
    """Of the fifth of five pieces of 48 MiB: page faults, and bytes that the system gets back."""
    command = [sys.executable, "-c", COUNTED, which]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    faults, returned = map(int, done.stdout.split())
    return faults, returned


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a choice of glibc's")
def test_a_piece_is_taken_from_what_was_freed() -> None:
    faults, returned = fifth_piece("given back")
    assert returned >= 47 * 2**20
    assert faults >= 24  # pages of 2 MiB, or 12,288 of 4 KiB
    faults, returned = fifth_piece("kept")
    assert returned < 2**20
    assert faults < 10
