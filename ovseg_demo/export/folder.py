"""A folder that holds a segmentation in the formats that people and programs ask for first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ovseg_demo.export.file_set import replace_files
from ovseg_demo.export.formats import encode
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.images import SourceImage

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

FILES: Mapping[str, str] = MappingProxyType(
    {"overlay.png": "overlay", "label_map.png": "label-map", "segmentation.json": "coco"}
)
"""The name of each file in the folder, and its format. The last is the record, which describes the others."""


def save_segmentation(
    segmentation: Segmentation,
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    source: SourceImage | None = None,
    path: str | Path | None = None,
) -> None:
    """Write a segmentation into a folder. The folder is made where it is missing; older files are replaced.

    Where writing fails, or the process is killed, no newer file is left beside an older one
    (:func:`.file_set.replace_files`).

    ``overlay.png`` is the map over the image with its legend, ``label_map.png`` the exact map
    (:mod:`.label_map`), ``segmentation.json`` a COCO data set of one image (:mod:`.coco`).

    Args:
        segmentation: what to write.
        folder: where to write it.
        settings: written into the JSON file beside those that the segmentation itself knows.
        source: the file that was segmented; the files have its upright size, and the JSON file names it.
        path: where that file is; the overlay takes its pixels if it is larger than the segmented image.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(settings or {}, View(labels=False), source, path)
    replace_files({folder / name: encode(segmentation, format_, options) for name, format_ in FILES.items()})
