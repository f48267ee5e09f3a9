"""Images in any common form, read and checked: upright RGB arrays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ovseg_demo.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""Pillow's names of the formats that are read; every other decoder of Pillow stays closed."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif")
"""File name endings by which images are found in a folder; the content alone decides when one is opened."""

MAX_PIXELS = 50_000_000
MIN_SIDE = 8
MAX_ASPECT_RATIO = 100

ImageSource = str | Path | bytes | Image.Image | np.ndarray

_EXIF_ORIENTATION = 274
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339


@dataclass(frozen=True)
class SourceImage:
    """The file that was segmented.

    Attributes:
        file_name: without its folder.
        width: in pixels, as the file stores them.
        height: in pixels, as the file stores them.
        is_turned: whether the EXIF orientation was applied, which may exchange width and height; ``None``
            where that is unknown.
    """

    file_name: str
    width: int
    height: int
    is_turned: bool | None = None


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """An image in any common form as upright RGB.

    The first frame of an animation is taken. The EXIF orientation is applied, transparent pixels are blended
    with white, and deeper pixels are scaled from their format's whole range to 0–255. The number of pixels
    is checked before any of them is decoded.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1 | 2 | 3 | 4) with the
            channels grey, grey + alpha, RGB or RGB + alpha; bool, uint8, uint16, or floating point between
            0 and 1.
        max_pixels: the largest height × width that is accepted. (Pillow itself refuses over 179 million.)

    Returns:
        uint8 RGB (H, W, 3), contiguous; it may share its memory with an array that was given.

    Raises:
        ImageError: the image is missing, damaged, empty, too small, too narrow, too large or in an unknown
            format.
    """
    if isinstance(source, np.ndarray):
        _check_size("The array", source.shape[1::-1] if source.ndim >= 2 else (0, 0), max_pixels)
        return _array_to_rgb("The array", source)
    if isinstance(source, Image.Image):
        return _decode("The image", source, max_pixels)
    if isinstance(source, bytes):
        return _open_and_decode("The image", io.BytesIO(source), max_pixels)
    if isinstance(source, str | Path):
        path = Path(source)
        return _open_and_decode(f'"{path.name}"', _existing_file(path), max_pixels)
    raise ImageError(
        f"An image is a path, bytes, a PIL image or a NumPy array, not a {type(source).__name__}."
    )


def read_source(path: str | Path) -> SourceImage:
    """Return what a file's header says of its image, without decoding it.

    Raises:
        ImageError: the file is no image that can be read.
    """
    file = _existing_file(Path(path))
    try:
        with Image.open(file, formats=FORMATS) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) != 1
            return SourceImage(file.name, *image.size, turned)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _damaged(f'"{file.name}"') from error


def resize_longer_side(image: np.ndarray, side: int) -> np.ndarray:
    """The image scaled so that its longer side has ``side`` pixels; the other is truncated to an integer.

    The interpolation is OpenCV's bilinear one. The published demo scales images for Segment Anything like
    this.

    Args:
        image: uint8 (H, W, 3).
        side: pixels of the longer side of the result.

    Returns:
        uint8 (h, w, 3) with ``max(h, w) == side``; the image itself where it has that size already.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer == side:
        return image
    new_size = max(1, width * side // longer), max(1, height * side // longer)
    return cv2.resize(image, new_size, interpolation=cv2.INTER_LINEAR)


def _existing_file(path: Path) -> Path:
    try:
        if path.is_file():
            return path
        problem = "is a folder, not an image" if path.is_dir() else "does not exist"
    except OSError as error:  # a name that no file can have
        raise ImageError(f'"{path.name[:100]}" is no file name.') from error
    raise ImageError(f'"{path.name}" {problem}; check the path.')


def _open_and_decode(name: str, file: Path | io.BytesIO, max_pixels: int) -> np.ndarray:
    try:
        opened = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(name, max_pixels) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is empty or no image that can be read here; save it as JPEG or PNG "
            f"(formats that are read: {', '.join(FORMATS)})."
        ) from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read; change its permissions.") from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged header meets whatever its decoder did not expect
        raise _damaged(name) from error
    with opened:
        return _decode(name, opened, max_pixels)


def _decode(name: str, image: Image.Image, max_pixels: int) -> np.ndarray:
    _check_size(name, image.size, max_pixels)
    try:
        return _to_rgb(name, image)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _damaged(name) from error


def _check_size(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _too_large(name, max_pixels, f" ({width}×{height})")
    if min(size) < MIN_SIDE:
        raise ImageError(
            f"{name} is {width}×{height} pixels; give an image of at least {MIN_SIDE} pixels a side."
        )
    if max(size) > MAX_ASPECT_RATIO * min(size):
        raise ImageError(
            f"{name} is {width}×{height} pixels, too narrow to segment; "
            f"cut it so that its longer side is at most {MAX_ASPECT_RATIO} times the shorter."
        )


def _too_large(name: str, max_pixels: int, size: str = "") -> ImageError:
    return ImageError(
        f"{name} has more than {max_pixels / 1e6:g} million pixels{size}; scale it down before segmenting it."
    )


def _damaged(name: str) -> ImageError:
    return ImageError(f"{name} is damaged or cut off; fetch or save it again.")


def _to_rgb(name: str, image: Image.Image) -> np.ndarray:
    tags = getattr(image, "tag_v2", {})  # of a TIFF; copies of the image lose them
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        return _array_to_rgb(name, _deep_grey(image, tags))
    if image.mode == "F":
        return _array_to_rgb(name, np.asarray(image))
    if image.mode in ("LAB", "HSV"):
        raise ImageError(f"{name} is in {image.mode} colours, which are not read here; save it as RGB.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _deep_grey(image: Image.Image, tags: Mapping[int, Any]) -> np.ndarray:
    """Grey of more than 8 bits (Pillow's modes I and I;16) as uint16 over the whole range 0–65535.

    Only TIFF says how many bits and whether they are signed; elsewhere these modes hold 16 unsigned bits.
    """
    bits = tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    is_signed = tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0] == 2
    values = np.asarray(image).astype(np.int64)
    if not is_signed:
        values &= (1 << bits) - 1  # Pillow keeps unsigned 32-bit values in signed integers
    white = (1 << (bits - is_signed)) - 1
    scaled = np.clip(values, 0, white) * 65535 // white
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # "white is zero", which Pillow undoes for 8 bits only
        scaled = 65535 - scaled
    return scaled.astype(np.uint16)


def _array_to_rgb(name: str, array: np.ndarray) -> np.ndarray:
    values = _to_uint8(name, array)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        raise ImageError(
            f"{name} has the shape {array.shape}; an image is (H, W), or (H, W, C) with 1 to 4 channels."
        )
    if values.shape[2] in (2, 4):
        values = _lay_on_white(values[:, :, :-1], values[:, :, -1:])
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    return np.ascontiguousarray(values)


def _to_uint8(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype == np.uint16:
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # also where a value is NaN
            raise ImageError(f"{name} has floating-point pixels outside 0 to 1; scale them to that range.")
        return np.rint(array * 255).astype(np.uint8)
    raise ImageError(f"{name} has pixels of the type {array.dtype}; convert them to uint8.")


def _lay_on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    blended = color.astype(np.uint32) * alpha + 255 * (255 - alpha.astype(np.uint32))
    return ((blended + 127) // 255).astype(np.uint8)
