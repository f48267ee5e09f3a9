"""Free the physical memory of tensors that are mapped from a weights file.

A weights file is mapped into memory, and each of its pages takes physical memory once it is read. A network
that copies a tensor, to another precision or device, does not read the file's again. Without this module the
whole file and the whole copy would be in memory at the same time.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_MAPPINGS = Path("/proc/self/maps")
_PRIVATE_FILE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ...p \S+ \S+ [1-9]\d* +(?!/dev/)", re.MULTILINE)
"""Start and end of a mapping in :data:`_MAPPINGS` that is private and has a file's inode."""
_PAGES = Path("/proc/self/pagemap")
"""A 64-bit integer for each page of memory, with these bits among others."""
_OF_FILE, _SWAPPED, _PRESENT = (np.uint64(1 << bit) for bit in (61, 62, 63))


@dataclass(frozen=True)
class MappedFiles:
    """The memory that this process has mapped from files for itself. Only Linux tells it.

    Attributes:
        starts, ends: addresses of the mappings, in ascending order.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    @classmethod
    def now(cls) -> Self:
        """Return the mappings of this moment; none where the system does not list them."""
        try:
            text = _MAPPINGS.read_text(errors="replace")
        except OSError:
            return cls()
        found = sorted((int(start, 16), int(end, 16)) for start, end in _PRIVATE_FILE.findall(text))
        return cls(tuple(start for start, _ in found), tuple(end for _, end in found))

    def release(self, tensor: Tensor) -> None:
        """Free the physical memory of a tensor in one of the mappings; other tensors are left alone.

        The tensor stays valid: the system reads its values from the file again when they are needed. A tensor
        that was written to is therefore left alone too.
        """
        if tensor.device.type != "cpu" or not tensor.numel():
            return
        start = tensor.data_ptr()
        spans = ((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        end = start + (sum(spans) + 1) * tensor.element_size()
        index = bisect_right(self.starts, start) - 1
        if index < 0 or self.ends[index] < end:
            return
        start -= start % mmap.PAGESIZE
        if _is_written(start, end):
            return
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(end - start), ctypes.c_int(mmap.MADV_DONTNEED)
        )


def place_tensors(tensors: Mapping[str, Tensor], place: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
    """Return the tensors as a network takes them, one after the other.

    The physical memory of a tensor that is mapped from a file is freed as soon as it has been copied.

    Args:
        tensors: by name.
        place: returns a tensor of a name in the precision and on the device that the network takes; it may
            be the same tensor.
    """
    mapped = MappedFiles.now()
    placed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        placed[name] = place(name, tensor)
        if placed[name].data_ptr() != tensor.data_ptr():
            mapped.release(tensor)
    return placed


def _is_written(start: int, end: int) -> bool:
    """Return whether a range of mapped memory may hold other values than its file.

    Args:
        start: address of the range's first page.
        end: address after the range's last byte.
    """
    pages = -(-(end - start) // mmap.PAGESIZE)
    try:
        with _PAGES.open("rb", buffering=0) as file:
            file.seek(start // mmap.PAGESIZE * 8)
            entries = np.frombuffer(file.read(pages * 8), np.uint64)
    except OSError:
        return True
    is_copy = (entries & (_PRESENT | _OF_FILE)) == _PRESENT
    return len(entries) < pages or bool((is_copy | ((entries & _SWAPPED) != 0)).any())
