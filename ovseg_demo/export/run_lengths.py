"""The mask of each class of a label map as run lengths: those of COCO and those of Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_BLOCK = 2**22  # pixels that are compared together

BRUSH_WORD = 8
"""Bits of a value in Label Studio's run lengths."""

BRUSH_SIZES = (3, 4, 8, 16)
"""Bits of a run's length in Label Studio's run lengths: each run takes the first size that is enough."""

_CHANNELS = 4  # of an RGBA image, which Label Studio's run lengths describe; all have the mask's value


def class_rles(label_map: np.ndarray, classes: int) -> list[dict[str, Any]]:
    """Return the mask of each class as a COCO run-length encoding, whose counts are text for JSON.

    One pass over the map finds the runs of all classes together.

    Args:
        label_map: int32 (H, W), class indices below ``classes``, or −1.
        classes: K; a class without a pixel has an empty mask.
    """
    height, width = label_map.shape
    uncompressed = []
    for edges in _class_edges(label_map.T, classes):
        counts = np.diff(edges, prepend=0, append=label_map.size).tolist()
        if len(counts) > 1 and counts[-1] == 0:  # the class has the last pixel; COCO ends there
            counts.pop()
        uncompressed.append({"size": [height, width], "counts": counts})
    rles = coco_mask.frPyObjects(uncompressed, height, width) if uncompressed else []
    return [{"size": [height, width], "counts": rle["counts"].decode("ascii")} for rle in rles]


def class_brushes(label_map: np.ndarray, classes: int) -> Iterator[list[int]]:
    """Yield the mask of each class as Label Studio's run lengths of a brush: bytes as integers.

    The encoding is that of the JavaScript package rle-pack: the number of values in 32 bits, the bits of a
    value less one in 5, the four sizes less one in 4 each, and then runs. A run is a bit 1, the number of its
    size in 2 bits, its length less one in so many bits, and its value. The values are the bytes of an RGBA
    image whose four channels are 255 where the mask is and 0 elsewhere.

    Args:
        label_map: int32 (H, W), class indices below ``classes``, or −1.
        classes: K; a class without a pixel has one run of zeros.
    """
    for edges in _class_edges(label_map, classes):
        lengths = np.diff(edges, prepend=0, append=label_map.size) * _CHANNELS
        values = np.resize(np.array([0, 255]), len(lengths))
        is_run = lengths > 0
        yield _pack_runs(lengths[is_run], values[is_run], label_map.size * _CHANNELS)


def _class_edges(label_map: np.ndarray, classes: int) -> Iterator[np.ndarray]:
    """Yield for each class where its n runs start and stop in the raveled map: int64 (2n,)."""
    starts, labels = _find_runs(label_map)
    stops = np.append(starts[1:], label_map.size)
    by_class = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels[by_class], np.arange(classes + 1))
    for index in range(classes):
        runs = by_class[first[index] : first[index + 1]]
        yield np.column_stack([starts[runs], stops[runs]]).ravel()


def _find_runs(label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each run of equal labels starts in the raveled map, int64 (n,), and its label."""
    rows, width = max(1, _BLOCK // label_map.shape[1]), label_map.shape[1]
    starts, labels, before = [], [], None
    for top in range(0, len(label_map), rows):
        values = label_map[top : top + rows].ravel()
        is_start = np.concatenate([[before is None or values[0] != before], values[1:] != values[:-1]])
        found = np.flatnonzero(is_start)
        starts.append(found + top * width)
        labels.append(values[found])
        before = values[-1]
    return np.concatenate(starts), np.concatenate(labels)


def _pack_runs(lengths: np.ndarray, values: np.ndarray, count: int) -> list[int]:
    longest = 1 << BRUSH_SIZES[-1]
    pieces = -(-lengths // longest)
    last = np.cumsum(pieces) - 1
    values = np.repeat(values, pieces)
    parts = np.full(len(values), longest, np.int64)
    parts[last] = lengths - (pieces - 1) * longest
    limits = 1 << np.array(BRUSH_SIZES)
    size = np.searchsorted(limits, parts)
    length_bits = np.array(BRUSH_SIZES)[size]
    codes = (((1 << 2 | size) << length_bits | (parts - 1)) << BRUSH_WORD) | values
    code_bits = 1 + 2 + length_bits + BRUSH_WORD
    header = [(count, 32), (BRUSH_WORD - 1, 5), *((bits - 1, 4) for bits in BRUSH_SIZES)]
    codes = np.concatenate([[code for code, _ in header], codes])
    code_bits = np.concatenate([[bits for _, bits in header], code_bits])
    ends = np.cumsum(code_bits)
    from_the_right = np.repeat(ends, code_bits) - 1 - np.arange(ends[-1])
    return np.packbits((np.repeat(codes, code_bits) >> from_the_right & 1).astype(np.uint8)).tolist()
