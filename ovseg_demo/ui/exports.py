"""The files that visitors download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ovseg_demo.export.formats import encode, find_format
from ovseg_demo.export.names import slug
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.uploads import UploadedImage


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
    kind: str, segmentation: Segmentation, image: UploadedImage, request: Request, model: str, view: View
) -> tuple[bytes, str]:
    """Make a file.

    Args:
        kind: the name of an export format.
        segmentation: what to write.
        image: that was segmented; the new file is named after its file.
        request: what the segmentation was made from; recorded in the COCO file.
        model: the name of the model; recorded, too.
        view: how the overlay is drawn.

    Returns:
        The file's content and its name.

    Raises:
        OvsegError: there is no such format.
    """
    suffix = find_format(kind).suffix
    options = ExportOptions({**asdict(request), "model": model}, view, image.source, Path(image.path))
    return encode(segmentation, kind, options), f"{slug(Path(image.path).stem)}-{suffix}"
