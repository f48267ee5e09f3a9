"""What a caller can choose about an exported file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ovseg_demo.images import SourceImage
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
        source: the file that was segmented, if there is one.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    view: View = View()
    source: SourceImage | None = None
