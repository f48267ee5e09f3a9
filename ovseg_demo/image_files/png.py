"""The parts of a PNG besides its pixels, which may be damaged, or small in the file and huge in memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from ovseg_demo.errors import ImageError

MAX_PROFILE = 2**20
"""Bytes of a colour profile. Pillow has the same limit."""

_SIGNATURE = 8  # bytes before the first chunk
_FRAME = 12  # a chunk's length, type and checksum
_NEEDED = (b"tRNS", b"iCCP", b"eXIf")


def without_metadata(name: str, file: BinaryIO) -> io.BytesIO | None:
    """Return a PNG with only the chunks that determine its pixels, or ``None`` if it has no others.

    Kept are the chunks that every decoder must know, and the transparency, colour profile and EXIF data if
    they are sound.

    Args:
        name: of the image, for messages.
        file: the PNG, at its beginning.

    Raises:
        ImageError: the colour profile unpacks to more than :data:`MAX_PROFILE` bytes.
    """
    kept, left_out, position = [(0, _SIGNATURE)], False, _SIGNATURE
    size = file.seek(0, io.SEEK_END)
    while position + _FRAME <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        is_critical = not kind[0] & 0x20  # the PNG specification calls chunks with a capital letter so
        if is_critical or (kind in _NEEDED and length <= MAX_PROFILE and _is_sound(name, file, kind, length)):
            kept.append((position, _FRAME + length))
        else:
            left_out = True
        position += _FRAME + length
    if not left_out:
        return None
    copy = io.BytesIO()
    for start, length in kept:
        file.seek(start)
        copy.write(file.read(length))
    copy.seek(0)
    return copy


def _is_sound(name: str, file: BinaryIO, kind: bytes, length: int) -> bool:
    """Return whether a chunk has the right checksum and, if it is a colour profile, can be unpacked."""
    data, checksum = file.read(length), file.read(4)
    if len(checksum) < 4 or zlib.crc32(kind + data) != struct.unpack(">I", checksum)[0]:
        return False
    if kind != b"iCCP":
        return True
    _, _, packed = data.partition(b"\0")
    if not packed or packed[0] != 0:  # the one compression method that there is
        return False
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_PROFILE + 1)
    except zlib.error:
        return False
    if len(profile) > MAX_PROFILE:
        raise ImageError(
            f"{name} has a colour profile of more than {MAX_PROFILE / 2**20:g} MB; save it again without one."
        )
    return True
