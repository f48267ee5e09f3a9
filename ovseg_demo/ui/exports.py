"""The files that visitors download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ovseg_demo.errors import ImageError
from ovseg_demo.export.formats import encode, find_format
from ovseg_demo.export.names import slug
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.uploads import UploadedImage

BYTES_PER_PIXEL = 24
"""What the making of a file takes at its peak: an overlay, measured with 40 megapixels. Label maps, COCO and
YOLO files take 5 to 10, cut-outs 19."""


def read_view(data: Mapping[str, Any]) -> View:
    """Read what the browser sent; an invalid value falls back to the default."""
    default = View()
    opacity = data.get("opacity")
    is_number = isinstance(opacity, int | float) and 0 <= opacity <= 1
    return View(
        float(opacity) if is_number else default.opacity,
        bool(data.get("labels", default.labels)),
        bool(data.get("outlines", default.outlines)),
    )


def export(
    kind: str,
    segmentation: Segmentation,
    image: UploadedImage,
    request: Request,
    model: str,
    view: View,
    progress: ProgressCallback = no_progress,
) -> tuple[bytes, str]:
    """Make a file.

    Args:
        kind: the name of an export format.
        segmentation: what to write.
        image: that was segmented; the new file is named after its file.
        request: what the segmentation was made from; recorded in the COCO file.
        model: the name of the model; recorded, too.
        view: how the overlay is drawn.
        progress: called while a file of many classes or parts is made.

    The file has the size of the upload, which may be larger than the segmentation.

    Returns:
        The file's content and its name.

    Raises:
        OvsegError: there is no such format, or it cannot hold this segmentation.
    """
    export_format, path = find_format(kind), Path(image.path)
    if export_format.reads_file and not path.is_file() and (image.original_size or export_format.for_geotiff):
        raise ImageError("The image is no longer on the server, and this file needs it; choose it again.")
    settings = {name: value for name, value in asdict(request).items() if name != "min_scores"}
    options = ExportOptions({**settings, "model": model}, view, image.source, path, progress=progress)
    return encode(segmentation, kind, options), f"{slug(path.stem)}-{export_format.suffix}"


def export_memory(image: UploadedImage) -> int:
    """Return about how many bytes the making of a file takes at its peak."""
    width, height = image.original_size or (image.width, image.height)
    return BYTES_PER_PIXEL * width * height
