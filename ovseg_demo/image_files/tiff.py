"""The kinds of pixels in TIFF files: those that Pillow does not read, or reads only in part."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import TiffImagePlugin

from ovseg_demo.errors import ImageError

IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL, SAMPLE_FORMAT = 258, 262, 277, 339
COMPRESSION, PLANAR_CONFIGURATION = 259, 284
TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES = 322, 323, 338

_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # bands of each photometric interpretation
_TYPES = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "untyped", 5: "complex", 6: "complex"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def is_tiff(header: bytes) -> bool:
    """Return whether a file that begins so is a TIFF."""
    return header.startswith(tuple(TiffImagePlugin.PREFIXES))


def check_tiff(name: str, file: BinaryIO) -> None:
    """Raise an :class:`ImageError` that names the kind of pixels of a TIFF if it is not read right here.

    A TIFF whose tags cannot be read passes: its decoder reports the damage.

    Args:
        name: of the image, for messages.
        file: the TIFF, at its beginning; it is there again afterwards.
    """
    tags: Mapping[int, Any] = {}
    with suppress(Exception):  # whatever damage the decoder reports
        tags = _read_tags(file)
    file.seek(0)
    if not tags:
        return
    samples = int(tags.get(SAMPLES_PER_PIXEL, 1))
    photometric = int(tags.get(PHOTOMETRIC, 0))
    bits = tuple(tags.get(BITS_PER_SAMPLE, (1,)))
    kinds = tuple(tags.get(SAMPLE_FORMAT, (1,)))
    extra = tuple(tags.get(EXTRA_SAMPLES, ()))
    colours = _COLOURS.get(photometric)
    has_extra = colours is not None and samples > max(colours, 2)
    if has_extra and not _is_transparency(samples - colours, extra):
        raise ImageError(
            f"{name} has {_count(samples)} bands, and it is not known which of them are red, green and blue; "
            "save those three as an RGB image."
        )
    is_odd_float = kinds[0] == 3 and (samples > 1 or bits[0] != 32)
    is_odd_integer = bits[0] > (32 if samples == 1 else 16) or (kinds[0] == 2 and bits[0] <= 8)
    is_unmarked = samples == 2 and not _is_transparency(1, extra)
    if is_odd_float or is_odd_integer or is_unmarked or kinds[0] in (5, 6):
        raise _not_read(name, samples, bits[0], kinds[0])
    if tags.get(PLANAR_CONFIGURATION) == 2 and tags.get(COMPRESSION, 1) == 1 and bits[0] > 8 and samples > 1:
        raise ImageError(  # Pillow reads them as if they were not separate
            f"{name} is a TIFF whose {bits[0]}-bit bands are stored separately, which is not read here; save "
            "it as an RGB image of 8 bits."
        )


def describe_unknown(name: str, file: BinaryIO) -> ImageError | None:
    """Return the error for a TIFF that Pillow does not know, or ``None`` if its tags cannot be read."""
    with suppress(Exception):
        tags = _read_tags(file)
        bits, kinds = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLE_FORMAT, (1,))
        return _not_read(name, int(tags.get(SAMPLES_PER_PIXEL, 1)), bits[0], kinds[0])
    return None


def _not_read(name: str, samples: int, bits: int, kind: int) -> ImageError:
    bands = "one band" if samples == 1 else f"{_count(samples)} bands"
    return ImageError(
        f"{name} is a TIFF with {bands} of {bits}-bit {_TYPES.get(kind, 'unknown')} values, which is not "
        "read here; save it as an RGB image of 8 bits."
    )


def _count(number: int) -> str:
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def _is_transparency(count: int, extra: tuple[int, ...]) -> bool:
    """Return whether the one band besides the colours is an alpha channel; many programs do not say so."""
    return count == 1 and (not extra or extra[0] in (1, 2, 999))


def _read_tags(file: BinaryIO) -> Mapping[int, Any]:
    file.seek(0)
    header = file.read(8)
    if header[2] == 43 or header[3] == 43:  # BigTIFF
        header += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(header)
    file.seek(tags.next)
    tags.load(file)
    return tags
