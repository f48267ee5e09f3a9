"""What a caller can choose about an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ovseg_demo.images import SourceImage
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.visualization.overlay import DEFAULT_OPACITY


@dataclass(frozen=True)
class View:
    """How the label map is drawn over its image.

    Attributes:
        opacity: of the colours, from 0 (the image alone) to 1 (the colours alone).
        labels: whether each class name is written into the map.
        outlines: whether the regions are outlined.
    """

    opacity: float = DEFAULT_OPACITY
    labels: bool = True
    outlines: bool = True


@dataclass(frozen=True)
class ExportOptions:
    """What a writer reads besides the segmentation; each format uses the part that concerns it.

    Attributes:
        settings: how the segmentation was made, for formats that record it; anything that JSON can hold.
        view: how the map is drawn, for formats that show it to people.
        source: the file that was segmented, if there is one. Exported files have its upright size. Its
            ``file_name`` is the name of the image in the exported files; in a data set, the image's path
            relative to the folder of images, with forward slashes.
        file: that file, as its path or its bytes, for formats that need its own pixels or its georeference.
        stem: the name of the exported files, a relative path without a suffix, such as ``sub/photo``; by
            default the source's file name without its suffix. YOLO and Pascal VOC find the files of an image
            by this name, so no two images of a data set may share it.
        progress: called from class to class, or from part to part, by formats that treat them one by one.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    view: View = View()
    source: SourceImage | None = None
    file: str | Path | bytes | None = None
    stem: str | None = None
    progress: ProgressCallback = no_progress

    @property
    def image_name(self) -> str:
        """The name of the image in the exported files."""
        return (self.source.file_name if self.source is not None else "") or "image"

    @property
    def file_stem(self) -> str:
        """The name of the exported files: :attr:`stem` or its default."""
        return self.stem or PurePosixPath(self.image_name).with_suffix("").as_posix()
