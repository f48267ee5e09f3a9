"""Samples that are slow to make, stored in one memory-mapped file that the first pass fills."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

SCENES_PER_SEED = 10_000_000
"""Training seed ``n`` uses scenes from number ``n`` times this on, so that other seeds use others."""


def open_records(file: Path, record: np.dtype, count: int) -> np.memmap:
    """Return the mapped records (count,); unwritten ones read as zeros and take no space on disk.

    A field such as "drawn", written last, marks a complete record. Processes may share the file: in one pass
    over the samples only one of them writes each record.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        if handle.tell() < count * record.itemsize:
            handle.truncate(count * record.itemsize)
    return np.memmap(file, dtype=record, mode="r+", shape=(count,))


def shuffled(seed: int, index: int, count: int) -> int:
    """Return the number of sample ``index``'s record in an endless stream of passes over ``count`` records.

    Each pass has a new order. The first pass is in the order of the file, so that writing is sequential.
    """
    epoch, position = divmod(index, count)
    return position if epoch == 0 else int(_order(seed, epoch, count)[position])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
