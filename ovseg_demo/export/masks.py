"""The masks of a segmentation as a zip of PNGs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ovseg_demo.classification.resampling import resize_nearest
from ovseg_demo.export.names import slug
from ovseg_demo.export.options import ExportOptions

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same masks give the same bytes


def write(segmentation: Segmentation, options: ExportOptions) -> bytes:
    """A zip of the masks that take part in a segmentation. No option concerns it."""
    return masks_zip(kept_masks(segmentation))


def kept_masks(segmentation: Segmentation) -> Iterator[tuple[str, np.ndarray]]:
    """For each mask that takes part in a segmentation, the name of its best class, and bool (H, W)."""
    size = segmentation.label_map.shape
    for index in np.flatnonzero(segmentation.kept):
        name = segmentation.class_names[segmentation.probabilities[index].argmax()]
        yield name, resize_nearest(segmentation.proposals.unpack(index), size)


def masks_zip(masks: Iterable[tuple[str, np.ndarray]]) -> bytes:
    """A zip of masks as 1-bit PNGs, white where the mask is.

    Args:
        masks: names, which become file names such as ``0007-red-bench.png``, and bool masks (H, W).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, (name, mask) in enumerate(masks, start=1):
            content = io.BytesIO()
            Image.fromarray(mask).save(content, "PNG")
            archive.writestr(zipfile.ZipInfo(f"{number:04d}-{slug(name)}.png", _ZIP_TIME), content.getvalue())
    return buffer.getvalue()
