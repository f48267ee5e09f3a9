"""Random numbers: one independent stream for every seed, split and purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ovseg_demo.sticker_world.classes import SPLITS, check_split

_PURPOSES = ("scene", "crop")
Option = TypeVar("Option")


def open_stream(seed: int, split: str, purpose: str) -> np.random.Generator:
    """Return the random generator of one seed; other splits and other purposes are independent of it.

    Raises:
        ValueError: an unknown split or a negative seed.
    """
    check_split(split)
    if seed < 0:
        raise ValueError(f"The seed {seed} is negative; use 0 or more.")
    return np.random.default_rng([seed, SPLITS.index(split), _PURPOSES.index(purpose)])


def pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """Return one of the options, each as likely; many times faster than ``rng.choice``."""
    return options[int(rng.integers(len(options)))]
