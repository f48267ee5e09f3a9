"""Spare the kernel the zeroing of pages: keep freed memory in the process and use it again.

By default glibc gives every large tensor pages of its own and returns them when the tensor dies, so that the
kernel zeroes them again for the next one. Where page faults are dear (virtual machines), that costs more than
the arithmetic: half of a Segment Anything encoder's time, two thirds of a training step's.

Each of malloc's arenas keeps for itself, and a thread that finds them in use makes another one, up to eight
for each core. All visitors' threads share two here, or every arena would come to hold a peak of its own.
"""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

_NEVER_TRIM = 2**31 - 1
_GROW_BY_BYTES = 256 * 2**20
_ARENAS = 2


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed; to be called once, before the first large tensor.

    The process then holds on to its peak of memory until it ends.

    Returns:
        Whether this C library knows these settings; others (musl, macOS, Windows) are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_MAX, 0)
        and mallopt(_M_TRIM_THRESHOLD, _NEVER_TRIM)
        and mallopt(_M_TOP_PAD, _GROW_BY_BYTES)
        and mallopt(_M_ARENA_MAX, _ARENAS)
    )
