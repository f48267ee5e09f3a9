"""The formats that are read, and the opening of a file up to its pixels."""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from pi_heif import register_heif_opener
from PIL import Image, UnidentifiedImageError

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.png import without_metadata
from ovseg_demo.image_files.tiff import check_tiff, describe_unknown, is_tiff

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
"""Pillow's names of the formats that are read; every other decoder of Pillow stays closed."""

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif", ".hif",
)  # fmt: skip
"""File name endings by which images are found in a folder; the content alone decides when one is opened."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_SHARED_BRANDS = (b"mif1", b"msf1")  # of HEIC and AVIF; further brands follow
_HEADER = 64  # bytes that tell the formats apart


def open_image(name: str, file: Path | io.BytesIO) -> Image.Image:
    """Return a file's image, of which only the header is read; the caller closes it.

    Text, and damaged colour profiles and EXIF data of a PNG, are left out.

    Args:
        name: of the image, for messages.
        file: a path or the content.

    Raises:
        ImageError: the file is no image, is damaged, may not be read, or has pixels that are not read here.
    """
    try:
        prepared, formats = _prepare(name, file)
        return Image.open(prepared, formats=formats)
    except (ImageError, MemoryError, Image.DecompressionBombError):
        raise
    except UnidentifiedImageError as error:
        raise _unknown_tiff(name, file) or ImageError(
            f"{name} is empty or no image that can be read here; save it as JPEG or PNG "
            f"(formats that are read: {', '.join(FORMATS)})."
        ) from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read; change its permissions.") from error
    except Exception as error:  # a damaged header meets whatever its decoder did not expect
        raise damaged(name) from error


def damaged(name: str) -> ImageError:
    """Return the error for a file that cannot be decoded."""
    return ImageError(f"{name} is damaged or cut off; fetch or save it again.")


def _unknown_tiff(name: str, file: Path | io.BytesIO) -> ImageError | None:
    """Return the error for a TIFF whose kind of pixels Pillow does not know; ``None`` for another file."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as content:
        content.seek(0)
        return describe_unknown(name, content) if is_tiff(content.read(_HEADER)) else None


def _prepare(name: str, file: Path | io.BytesIO) -> tuple[Path | io.BytesIO, tuple[str, ...]]:
    """Return the file for Pillow and the formats to try, after what Pillow does not check."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            other, formats = _check(name, opened)
    else:
        file.seek(0)
        other, formats = _check(name, file)
        file.seek(0)
    return other or file, formats


def _check(name: str, file: BinaryIO) -> tuple[io.BytesIO | None, tuple[str, ...]]:
    """Return a PNG without its metadata, and the formats to try."""
    header = file.read(_HEADER)
    file.seek(0)
    if header.startswith(b"\x89PNG\r\n\x1a\n"):
        return without_metadata(name, file), ("PNG",)
    if is_tiff(header):
        check_tiff(name, file)
        return None, ("TIFF",)
    if _is_heic(header):
        register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
        return None, ("HEIF",)
    return None, tuple(format_ for format_ in FORMATS if format_ != "HEIF")


def _is_heic(header: bytes) -> bool:
    if header[4:8] != b"ftyp":
        return False
    brand = header[8:12]
    return brand in _HEIC_BRANDS or (brand in _SHARED_BRANDS and b"avif" not in header)
