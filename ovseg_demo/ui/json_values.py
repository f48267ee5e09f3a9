"""Checks of values that a browser or a program sent as JSON."""

from __future__ import annotations

import math


def is_number(value: object) -> bool:
    """Return whether a value is a number that a float can hold.

    Python's JSON may hold infinity, "not a number", and integers of any length.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
