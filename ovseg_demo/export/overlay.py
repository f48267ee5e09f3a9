"""The label map over its image with its legend, as a PNG for viewing and print."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING

from ovseg_demo.export.options import ExportOptions
from ovseg_demo.visualization.legend import DPI

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation


def write(segmentation: Segmentation, options: ExportOptions) -> bytes:
    """PNG bytes of the overlay, drawn as ``options.view`` says, with the resolution for print."""
    buffer = io.BytesIO()
    segmentation.overlay(**asdict(options.view)).save(buffer, "PNG", dpi=(DPI, DPI))
    return buffer.getvalue()
