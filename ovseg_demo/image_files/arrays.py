"""Arrays of any common kind as RGB."""

from __future__ import annotations

import numpy as np

from ovseg_demo.errors import ImageError

DARK = 16
"""Deep pixels are taken for values of fewer bits if their whole range has so many times their maximum."""


def array_to_rgb(name: str, array: np.ndarray, stretch: bool = False) -> np.ndarray:
    """Return an array as contiguous uint8 RGB (H, W, 3); it may share its memory with the given array.

    Args:
        name: of the image, for messages.
        array: (H, W) or (H, W, 1 to 4); bool, uint8, uint16, or floating point between 0 and 1.
        stretch: whether deep pixels are scaled from their own minimum and maximum, instead of their type's.

    Raises:
        ImageError: the array has another shape or type, or values outside its range.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(
            f"{name} has the shape {array.shape}; an image is (H, W), or (H, W, C) with 1 to 4 channels."
        )
    values = array[:, :, None] if array.ndim == 2 else array
    colors = _to_uint8(name, values if values.shape[2] in (1, 3) else values[:, :, :-1], stretch)
    if values.shape[2] in (2, 4):
        colors = _lay_on_white(colors, _alpha(name, values[:, :, -1:]))
    if colors.shape[2] == 1:
        colors = np.repeat(colors, 3, axis=2)
    return np.ascontiguousarray(colors)


def check_not_dark(name: str, largest: int, white: int) -> None:
    """Raise an :class:`ImageError` if deep pixels use so little of their range that all would be black."""
    if white > 255 and 0 < largest <= white // DARK:
        raise ImageError(
            f"{name} is dark: its values reach {largest:,} of {white:,}, as those of "
            f"{largest.bit_length()}-bit data do; stretch its values (in Python stretch=True, on the command "
            "line --stretch), or save it with 8 bits."
        )


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values from ``low`` to ``high`` as uint8 from 0 to 255; a constant becomes 0."""
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((values.astype(np.float64) - low) * scale).astype(np.uint8)


def check_unit_range(name: str, low: float, high: float) -> None:
    """Raise an :class:`ImageError` unless floating-point pixels lie between 0 and 1."""
    if not (low >= 0 and high <= 1):  # also where a value is NaN
        raise ImageError(
            f"{name} has floating-point pixels outside 0 to 1; scale them to that range, or stretch its "
            "values (in Python stretch=True, on the command line --stretch)."
        )


def check_finite(name: str, low: float, high: float) -> None:
    """Raise an :class:`ImageError` if an image has pixels that are no numbers."""
    if not np.isfinite(low) or not np.isfinite(high):
        raise ImageError(f"{name} has pixels that are infinite or no numbers; replace them.")


def _to_uint8(name: str, array: np.ndarray, stretch: bool) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array * np.uint8(255)
    is_float = np.issubdtype(array.dtype, np.floating)
    if not is_float and not (stretch and np.issubdtype(array.dtype, np.integer)) and array.dtype != np.uint16:
        raise ImageError(f"{name} has pixels of the type {array.dtype}; convert them to uint8.")
    low, high = array.min(), array.max()
    if stretch:
        check_finite(name, low, high)
        return stretched(array, low, high)
    if is_float:
        check_unit_range(name, low, high)
        return np.rint(array * 255).astype(np.uint8)
    check_not_dark(name, int(high), 65535)
    return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _alpha(name: str, alpha: np.ndarray) -> np.ndarray:
    if alpha.dtype == np.uint16:
        return ((alpha.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return _to_uint8(name, alpha, stretch=False)


def _lay_on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    blended = color.astype(np.uint32) * alpha + 255 * (255 - alpha.astype(np.uint32))
    return ((blended + 127) // 255).astype(np.uint8)
