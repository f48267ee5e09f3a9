"""The export formats. A new one is a module with a writer, and an entry in :data:`FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ovseg_demo.errors import OvsegError
from ovseg_demo.export import coco, label_map, masks, overlay
from ovseg_demo.export.options import ExportOptions

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

Writer = Callable[["Segmentation", ExportOptions], bytes]
"""Turns a segmentation into the content of one file."""


@dataclass(frozen=True)
class ExportFormat:
    """One kind of file.

    Attributes:
        suffix: the end of a file's name, such as ``label-map.png``; the image's name goes before it.
        write: gives the file's content.
    """

    suffix: str
    write: Writer


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "overlay": ExportFormat("overlay.png", overlay.write),
        "label-map": ExportFormat("label-map.png", label_map.write),
        "coco": ExportFormat("coco.json", coco.write),
        "masks": ExportFormat("masks.zip", masks.write),
    }
)
"""Every format by the name that the page and programs use."""


def find_format(name: str) -> ExportFormat:
    """The format with this name.

    Raises:
        OvsegError: there is none.
    """
    if name not in FORMATS:
        raise OvsegError(f'There is no export format "{name}"; choose one of {", ".join(FORMATS)}.')
    return FORMATS[name]
