"""The masks of a segmentation as PNGs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from ovseg_demo.export.files import ExportFile
from ovseg_demo.export.names import slug
from ovseg_demo.export.sized import SizedSegmentation


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield the masks that take part in a segmentation, in a folder with the name of the image."""
    masks = sized.follow(sized.kept_masks(), np.count_nonzero(sized.segmentation.kept))
    return mask_files(sized.options.file_stem, masks)


def mask_files(folder: str, masks: Iterable[tuple[str, np.ndarray]]) -> Iterator[ExportFile]:
    """Yield masks as 1-bit PNGs, white where the mask is.

    Args:
        folder: of the files.
        masks: names, which become file names such as ``0007-red-bench.png``, and bool masks (H, W).
    """
    for number, (name, mask) in enumerate(masks, start=1):
        content = io.BytesIO()
        Image.fromarray(mask).save(content, "PNG")
        yield ExportFile(f"{folder}/{number:04d}-{slug(name)}.png", content.getvalue())
