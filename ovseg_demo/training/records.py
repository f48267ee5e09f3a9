"""Samples that are costly to make, kept in one memory-mapped file that fills up while it is first read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

SCENES_PER_SEED = 10_000_000
"""Scenes of one training seed are numbered from its multiple of this, so that another seed sees others."""


def open_records(file: Path, record: np.dtype, count: int) -> np.memmap:
    """The mapped records (count,); what was never written reads as zeros and takes no space on disk.

    A field such as "drawn", written last, tells whether a record was made. Processes may share the file: in
    one pass over the samples each record is written by one of them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as handle:
        if handle.tell() < count * record.itemsize:
            handle.truncate(count * record.itemsize)
    return np.memmap(file, dtype=record, mode="r+", shape=(count,))


def shuffled(seed: int, index: int, count: int) -> int:
    """The record of sample ``index`` in an endless stream: each pass over ``count`` records is a new order.

    The first pass goes straight through the file, which suits what fills it.
    """
    epoch, position = divmod(index, count)
    return position if epoch == 0 else int(_order(seed, epoch, count)[position])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
