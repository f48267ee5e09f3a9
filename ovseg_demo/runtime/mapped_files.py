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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from torch import Tensor

_MAPPINGS = Path("/proc/self/smaps")
_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ...(.) \S+ \S+ (\d+) *(.*)")
"""Of a mapping in :data:`_MAPPINGS`: start, end, "p" if it is private, inode and path."""
_UNCHANGED = re.compile(r"Anonymous: +0 kB")
"""Of a mapping to which nothing was written."""


@dataclass(frozen=True)
class MappedFiles:
    """The memory that this process has mapped from files and has not written to. Only Linux tells it.

    Attributes:
        starts, ends: addresses of the mappings, in ascending order.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    @classmethod
    def now(cls) -> Self:
        """Return the mappings of this moment; none where the system does not list them."""
        try:
            lines = _MAPPINGS.read_text(errors="replace").splitlines()
        except OSError:
            return cls()
        found = sorted(_unchanged_mappings(lines))
        return cls(tuple(start for start, _ in found), tuple(end for _, end in found))

    def release(self, tensor: Tensor) -> None:
        """Free the physical memory of a tensor in one of the mappings; other tensors are left alone.

        The tensor stays valid: the system reads its values from the file again when they are needed.
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


def _unchanged_mappings(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each private mapping of a file that nothing was written to."""
    mapping: tuple[int, int] | None = None
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header:
            start, end, sharing, inode, path = header.groups()
            is_file = sharing == "p" and inode != "0" and not path.startswith("/dev/")
            mapping = (int(start, 16), int(end, 16)) if is_file else None
        elif mapping is not None and _UNCHANGED.fullmatch(line):
            yield mapping
