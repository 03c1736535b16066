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
for number in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    piece = libc.malloc(size)
    libc.memset(piece, 1, size)
    libc.free(piece)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(which: str) -> int:
    """Of the fifth of five pieces of 48 MiB, each freed before the next."""
    command = [sys.executable, "-c", COUNTED, which]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a choice of glibc's")
def test_a_piece_is_taken_from_what_was_freed() -> None:
    assert page_faults("given back") >= 20  # 24 pages of 2 MiB, or 12,288 of 4 KiB
    assert page_faults("kept") < 10
