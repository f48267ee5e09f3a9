"""A folder that holds a segmentation in the formats that people and programs ask for first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ovseg_demo.export.formats import FORMATS
from ovseg_demo.export.options import ExportOptions, View

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

FILES: Mapping[str, str] = MappingProxyType(
    {"overlay.png": "overlay", "label_map.png": "label-map", "segmentation.json": "coco"}
)
"""The name of each file in the folder, and its format."""


def save_segmentation(
    segmentation: Segmentation, folder: str | Path, *, settings: Mapping[str, Any] | None = None
) -> None:
    """Write a segmentation into a folder. The folder is made where it is missing; older files are replaced.

    ``overlay.png`` is the map over the image with its legend, ``label_map.png`` the exact map
    (:mod:`.label_map`), ``segmentation.json`` a COCO data set of one image (:mod:`.coco`).

    Args:
        segmentation: what to write.
        folder: where to write it.
        settings: written into the JSON file beside those that the segmentation itself knows.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(settings or {}, View(labels=False))
    for name, export_format in FILES.items():
        (folder / name).write_bytes(FORMATS[export_format].write(segmentation, options))
