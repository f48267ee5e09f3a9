"""Makes glibc's malloc keep freed memory, which avoids page faults.

By default glibc maps new pages for every large tensor and returns them to the kernel when the tensor is
freed. The kernel fills each new page with zeros. Where page faults are slow (virtual machines), this costs
more than the arithmetic: half of the time of a Segment Anything encoder, two thirds of a training step.

malloc makes up to eight arenas for each core, and each arena keeps its own freed memory. All threads here
share two arenas; with more, each arena would grow to the peak of the whole process.
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
    """Make glibc's malloc keep freed memory. Call it once, before the first large tensor is made.

    The process keeps its peak memory until it ends.

    Returns:
        Whether the C library has these settings. Others (musl, macOS, Windows) stay unchanged.
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
