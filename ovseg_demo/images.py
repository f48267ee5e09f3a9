"""Images in any common form, read and checked: upright RGB arrays."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.arrays import array_to_rgb
from ovseg_demo.image_files.formats import FORMATS, SUFFIXES, damaged, open_image
from ovseg_demo.image_files.memory import MAX_DECODE_BYTES, MemoryBudget, check_memory
from ovseg_demo.image_files.orientation import UPRIGHT, exchanges_sides, read_orientation, turn_upright
from ovseg_demo.image_files.pixels import decode_pixels, has_deep_colors
from ovseg_demo.image_files.scaling import resize_longer_side
from ovseg_demo.image_files.tiff import IMAGE_LENGTH, IMAGE_WIDTH

__all__ = [
    "FORMATS",
    "MAX_ASPECT_RATIO",
    "MAX_DECODE_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "SUFFIXES",
    "ImageSource",
    "SourceImage",
    "load_image",
    "read_source",
    "read_upright_size",
    "resize_longer_side",
]

MAX_PIXELS = 50_000_000
MIN_SIDE = 8
MAX_ASPECT_RATIO = 100

ImageSource = str | Path | bytes | Image.Image | np.ndarray


@dataclass(frozen=True)
class SourceImage:
    """The file that was segmented.

    Attributes:
        file_name: without its folder.
        width: in pixels, as the file stores them.
        height: in pixels, as the file stores them.
        is_turned: whether the EXIF orientation was applied; ``None`` where that is unknown.
        exchanges_sides: whether the EXIF orientation exchanges width and height.
    """

    file_name: str
    width: int
    height: int
    is_turned: bool | None = None
    exchanges_sides: bool = False

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) of the upright image: the size of exported files."""
        return (self.height, self.width) if self.exchanges_sides else (self.width, self.height)


@dataclass(frozen=True)
class _Limits:
    """What :func:`load_image` was asked for."""

    max_pixels: int
    max_side: int | None
    max_bytes: int
    stretch: bool
    budget: MemoryBudget | None


def load_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
    max_bytes: int = MAX_DECODE_BYTES,
    stretch: bool = False,
    budget: MemoryBudget | None = None,
) -> np.ndarray:
    """Return an image in any common form as upright RGB.

    The first frame of an animation is taken. The EXIF orientation is applied, the colours of an ICC profile
    become those of sRGB, transparent pixels are blended with white, and deeper pixels are scaled from their
    format's whole range to 0–255. Damaged EXIF data, profiles and texts are ignored. The number of pixels and
    the memory that decoding takes are checked before any pixel is decoded.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (H, W), (H, W, 1 | 2 | 3 | 4) with the
            channels grey, grey + alpha, RGB or RGB + alpha; bool, uint8, uint16, or floating point between
            0 and 1.
        max_pixels: the largest height × width that is accepted. (Pillow itself refuses over 179 million.)
        max_side: a longer side is scaled down to it, and the image is never in memory as RGB at a larger
            size than twice that. ``None`` keeps the size.
        max_bytes: limit of the memory that decoding takes.
        budget: what all threads that share it may take together for decoding: each waits until its part is
            free.
        stretch: scale grey and colours of more than 8 bits from their own minimum and maximum to 0–255. It is
            meant for data of few bits in a deeper format, such as 12 bits stored in 16.

    Returns:
        uint8 RGB (H, W, 3), contiguous; it may share its memory with an array that was given.

    Raises:
        ImageError: the image is missing, damaged, empty, too small, too narrow, too large or in an unknown
            format, or its pixels are of a kind that is not read here.
    """
    limits = _Limits(max_pixels, max_side, max_bytes, stretch, budget)
    if isinstance(source, np.ndarray):
        _check_size("The array", source.shape[1::-1] if source.ndim >= 2 else (0, 0), max_pixels)
        return _scale_down(array_to_rgb("The array", source, stretch), max_side)
    if isinstance(source, Image.Image):
        return _decode("The image", source, limits)
    if isinstance(source, bytes):
        return _open_and_decode("The image", io.BytesIO(source), limits)
    if isinstance(source, str | Path):
        path = Path(source)
        return _open_and_decode(f'"{path.name}"', _existing_file(path), limits)
    raise ImageError(
        f"An image is a path, bytes, a PIL image or a NumPy array, not a {type(source).__name__}."
    )


def read_source(source: str | Path | bytes) -> SourceImage:
    """Return what a file's header says of its image, without decoding it.

    Args:
        source: the path of the file, or its content; the file name of a content is empty.

    Raises:
        ImageError: the file is no image that can be read.
    """
    if isinstance(source, bytes):
        name, file, file_name = "The image", io.BytesIO(source), ""
    else:
        file = _existing_file(Path(source))
        name, file_name = f'"{file.name}"', file.name
    with _open(name, file, MAX_PIXELS) as image:
        # HEIC is turned by its decoder, which does not say so.
        orientation = read_orientation(image)
        is_turned = None if image.format == "HEIF" else orientation != UPRIGHT
        return SourceImage(file_name, *_stored_size(image), is_turned, exchanges_sides(orientation))


def read_upright_size(path: str | Path) -> tuple[int, int]:
    """Return the (width, height) that :func:`load_image` gives a file's image without a ``max_side``.

    Raises:
        ImageError: the file is no image that can be read.
    """
    return read_source(path).upright_size


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) as the file stores them; Pillow turns the size of a TIFF when it opens it."""
    if image.format == "TIFF":
        return int(image.tag_v2[IMAGE_WIDTH]), int(image.tag_v2[IMAGE_LENGTH])
    return image.size


def _existing_file(path: Path) -> Path:
    try:
        if path.is_file():
            return path
        problem = "is a folder, not an image" if path.is_dir() else "does not exist"
    except OSError as error:  # a name that no file can have
        raise ImageError(f'"{path.name[:100]}" is no file name.') from error
    raise ImageError(f'"{path.name}" {problem}; check the path.')


def _open(name: str, file: Path | io.BytesIO, max_pixels: int) -> Image.Image:
    try:
        return open_image(name, file)
    except Image.DecompressionBombError as error:
        raise _too_large(name, max_pixels) from error


def _open_and_decode(name: str, file: Path | io.BytesIO, limits: _Limits) -> np.ndarray:
    with _open(name, file, limits.max_pixels) as image:
        if limits.stretch and has_deep_colors(image):
            _check_size(name, image.size, limits.max_pixels)
            return _scale_down(_stretch_colors(name, image, file, limits), limits.max_side)
        return _decode(name, image, limits)


def _decode(name: str, image: Image.Image, limits: _Limits) -> np.ndarray:
    _check_size(name, image.size, limits.max_pixels)
    try:
        return decode_pixels(
            name,
            image,
            max_side=limits.max_side,
            max_bytes=limits.max_bytes,
            stretch=limits.stretch,
            budget=limits.budget,
        )
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise damaged(name) from error


def _stretch_colors(name: str, image: Image.Image, file: Path | io.BytesIO, limits: _Limits) -> np.ndarray:
    """Return colours of 16 bits, stretched. Pillow keeps 8 of their bits, so OpenCV reads them."""
    width, height = image.size
    # Four channels of 16 bits, twice, and RGB.
    needed = check_memory(name, image, 6 * width * height, limits.max_bytes)
    with limits.budget.take(needed) if limits.budget is not None else nullcontext():
        content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
        try:
            array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise damaged(name) from error
        if array is None or array.ndim != 3:
            raise damaged(name)
        order = (2, 1, 0) if array.shape[2] == 3 else (2, 1, 0, 3)
        # OpenCV turns a TIFF upright by itself, and no other file when it leaves the pixels unchanged.
        orientation = UPRIGHT if image.format == "TIFF" else read_orientation(image)
        return turn_upright(array_to_rgb(name, array[:, :, order], stretch=True), orientation)


def _scale_down(pixels: np.ndarray, max_side: int | None) -> np.ndarray:
    return (
        pixels if max_side is None or max(pixels.shape) <= max_side else resize_longer_side(pixels, max_side)
    )


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
