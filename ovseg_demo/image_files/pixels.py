"""The pixels of an opened image as RGB, converted in strips so that few copies are in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import numpy as np
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.arrays import check_finite, check_not_dark, check_unit_range, stretched
from ovseg_demo.image_files.colour_profiles import to_rgb
from ovseg_demo.image_files.memory import MemoryBudget, check_memory
from ovseg_demo.image_files.orientation import read_orientation, turn_upright
from ovseg_demo.image_files.scaling import resize_longer_side
from ovseg_demo.image_files.tiff import BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT

_STRIP = 2**20  # pixels


def decode_pixels(
    name: str,
    image: Image.Image,
    *,
    max_side: int | None,
    max_bytes: int,
    stretch: bool,
    budget: MemoryBudget | None = None,
) -> np.ndarray:
    """Return an image as upright uint8 RGB (H, W, 3).

    Args:
        name: of the image, for messages.
        image: opened; it is decoded here. A JPEG is decoded at a half, a quarter or an eighth of its size
            where that is enough.
        max_side: a longer side is scaled down to it.
        max_bytes: limit of the memory for decoding.
        stretch: whether deep grey is scaled from its own minimum and maximum.
        budget: what the threads that decode may take together; ``None`` sets no limit.

    Raises:
        ImageError: decoding takes too much memory, or the image has pixels that are not read here.
    """
    longer = max(image.size)
    is_too_long = max_side is not None and longer > max_side
    if is_too_long and image.format in ("JPEG", "MPO"):
        image.draft(None, tuple(max(1, side * max_side // longer) for side in image.size))
    factor = max(1, max(image.size) // max_side) if is_too_long else 1
    width, height = (-(-side // factor) for side in image.size)
    needed = check_memory(name, image, width * height, max_bytes)
    with budget.take(needed) if budget is not None else nullcontext():
        was_cut = has_deep_colors(image)
        image.load()
        read = partial(_read_grey, stretch=stretch) if image.mode[0] in "IF" else _read
        pixels = read(name, image, factor)
        if was_cut:
            check_not_dark(name, int(pixels.max()) * 256, 65535)
        if is_too_long:
            pixels = resize_longer_side(pixels, max_side)
        return turn_upright(_with_profile(image, pixels), read_orientation(image))


def has_deep_colors(image: Image.Image) -> bool:
    """Return whether a file has colours of 16 bits, of which Pillow keeps 8."""
    return image.mode[0] not in "IF" and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _with_profile(image: Image.Image, pixels: np.ndarray) -> np.ndarray:
    """Return pixels of 1, 3 or 4 channels (grey, RGB, CMYK) as RGB, in the colours of sRGB."""
    profile = image.info.get("icc_profile")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if not profile and channels == 3:
        return pixels
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if not profile and channels == 1:
        return np.repeat(pixels, 3, axis=2)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[channels]
    flat = Image.frombuffer(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels), "raw", mode, 0, 1)
    return np.asarray(to_rgb(flat, profile))


def _read(name: str, image: Image.Image, factor: int) -> np.ndarray:
    """Return pixels of 8 bits: uint8 (h, w), or (h, w, C) with RGB or CMYK."""
    if image.mode in ("LAB", "HSV"):
        raise ImageError(f"{name} is in {image.mode} colours, which are not read here; save it as RGB.")
    return _gather(image, factor, _flatten)


def _flatten(strip: Image.Image) -> Image.Image:
    """Return a strip in the mode L, RGB or CMYK, laid on white."""
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB")
    if strip.mode in ("L", "RGB", "CMYK"):
        return strip
    return strip.convert("L" if strip.mode == "1" else "RGB")


def _read_grey(name: str, image: Image.Image, factor: int, stretch: bool) -> np.ndarray:
    """Return grey of more than 8 bits, or of floating point, as uint8 (h, w)."""
    is_float = image.mode == "F"
    deep = None if is_float else _DeepGrey(image)
    values = np.asarray if is_float else deep.values
    ends = [(strip.min(), strip.max()) for strip in map(values, _strips(image, 1))]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if is_float:
        low, high = (np.nan, np.nan) if np.isnan(ends).any() else (low, high)
    if stretch:
        check_finite(name, float(low), float(high))
        to_bytes = lambda strip: stretched(values(strip), low, high)  # noqa: E731
    elif is_float:
        check_unit_range(name, low, high)
        to_bytes = lambda strip: np.rint(np.asarray(strip) * 255).astype(np.uint8)  # noqa: E731
    else:
        deep.check_range(name, int(low), int(high))
        if not deep.is_negative:
            check_not_dark(name, int(high), deep.white)
        to_bytes = lambda strip: deep.to_bytes(values(strip))  # noqa: E731
    pixels = _gather(image, factor, lambda strip: Image.fromarray(to_bytes(strip)))
    return 255 - pixels if deep is not None and deep.is_negative else pixels


class _DeepGrey:
    """Grey in Pillow's modes I and I;16.

    Only TIFF says how many bits there are and whether they are signed; elsewhere these modes should hold 16
    unsigned bits, but an image that a program made may have other values.

    Attributes:
        white: the largest value.
        is_negative: whether 0 is white, which Pillow undoes for 8 bits only.
    """

    def __init__(self, image: Image.Image):
        tags = getattr(image, "tag_v2", {})
        self._is_tiff = bool(tags)
        bits = int(tags.get(BITS_PER_SAMPLE, (16,))[0])
        self._is_signed = tags.get(SAMPLE_FORMAT, (1,))[0] == 2
        self._mask = (1 << bits) - 1  # Pillow keeps unsigned 32-bit values in signed integers
        self.white = (1 << (bits - self._is_signed)) - 1
        self.is_negative = tags.get(PHOTOMETRIC) == 0

    def values(self, strip: Image.Image) -> np.ndarray:
        """Return the values of a strip: int64; those of a TIFF are from 0 to ``white``."""
        values = np.asarray(strip).astype(np.int64)
        if not self._is_tiff:
            return values
        return np.clip(values if self._is_signed else values & self._mask, 0, self.white)

    def check_range(self, name: str, low: int, high: int) -> None:
        """Raise an :class:`ImageError` unless values lie between 0 and ``white``."""
        if low < 0 or high > self.white:
            raise ImageError(
                f"{name} has values from {low:,} to {high:,}, outside 0 to {self.white:,}; scale them to "
                "that range, or stretch them (in Python stretch=True, on the command line --stretch)."
            )

    def to_bytes(self, values: np.ndarray) -> np.ndarray:
        """Return values scaled from 0 and ``white`` to 0 and 255: uint8."""
        return ((values * 65535 // self.white * 255 + 32767) // 65535).astype(np.uint8)


def _gather(image: Image.Image, factor: int, convert: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return all strips, each converted and then reduced: every pixel is the mean of factor × factor."""
    gathered: np.ndarray | None = None
    row = 0
    for strip in _strips(image, factor):
        converted = convert(strip)
        rows = np.asarray(converted.reduce(factor) if factor > 1 else converted)
        if gathered is None:
            height = -(-image.height // factor)
            gathered = np.empty((height, *rows.shape[1:]), np.uint8)
        gathered[row : row + len(rows)] = rows
        row += len(rows)
    return gathered


def _strips(image: Image.Image, factor: int) -> Iterator[Image.Image]:
    """Yield an image in strips of full width, each a multiple of ``factor`` high but the last."""
    rows = max(1, _STRIP // image.width // factor) * factor
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))
