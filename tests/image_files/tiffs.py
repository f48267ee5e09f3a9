"""TIFF files of any kind of pixels; Pillow writes few of them itself."""

import struct

import numpy as np

_FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(
    array: np.ndarray,
    *,
    photometric: int,
    extra: tuple[int, ...] = (),
    planar: bool = False,
    orientation: int = 1,
) -> bytes:
    """A little-endian TIFF of one uncompressed strip for each plane; ``array`` is (H, W) or (H, W, C)."""
    array = array[:, :, None] if array.ndim == 2 else array
    height, width, bands = array.shape
    little = array.astype(array.dtype.newbyteorder("<"))
    planes = [little[:, :, band].tobytes() for band in range(bands)] if planar else [little.tobytes()]
    bits, kind = array.dtype.itemsize * 8, _FORMATS[array.dtype.kind]
    starts = np.cumsum([8, *map(len, planes)]).tolist()
    tags = {
        256: [width], 257: [height], 258: [bits] * bands, 259: [1], 262: [photometric], 273: starts[:-1],
        274: [orientation], 277: [bands], 278: [height], 279: [len(plane) for plane in planes],
        284: [2 if planar else 1], 338: list(extra), 339: [kind] * bands,
    }  # fmt: skip
    tags = {tag: values for tag, values in tags.items() if values}
    directory = starts[-1]
    after = directory + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, 4, len(numbers), after + len(values))
            values += packed
        else:
            entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    body = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0) + values
    return struct.pack("<2sHI", b"II", 42, directory) + b"".join(planes) + body
