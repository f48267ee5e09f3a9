"""The files that visitors take with them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ovseg_demo.errors import OvsegError
from ovseg_demo.export.files import (
    encode_label_map,
    kept_masks,
    known_settings,
    masks_zip,
    segmentation_record,
    slug,
)
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.request import Request
from ovseg_demo.visualization.legend import DPI
from ovseg_demo.visualization.overlay import DEFAULT_OPACITY


@dataclass(frozen=True)
class View:
    """How the visitor looks at the map: what the overlay's file is to look like."""

    opacity: float = DEFAULT_OPACITY
    labels: bool = True
    outlines: bool = True

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> View:
        """Read what the browser sent; what is strange falls back to the default."""
        default = cls()
        opacity = data.get("opacity")
        is_number = isinstance(opacity, int | float) and 0 <= opacity <= 1
        return cls(
            float(opacity) if is_number else default.opacity,
            bool(data.get("labels", default.labels)),
            bool(data.get("outlines", default.outlines)),
        )


def export(
    kind: str, segmentation: Segmentation, image_name: str, request: Request, view: View
) -> tuple[bytes, str]:
    """Make a file.

    Args:
        kind: one of :data:`KINDS`.
        segmentation: what to write.
        image_name: of the image's file.
        request: what it was made from; kept in the JSON.
        view: for the overlay.

    Returns:
        Its content and its name.

    Raises:
        OvsegError: there is no such kind.
    """
    if kind not in KINDS:
        raise OvsegError(f'There is no file "{kind}" to download; choose one of {", ".join(KINDS)}.')
    suffix, write = KINDS[kind]
    return write(segmentation, request, view), f"{slug(Path(image_name).stem)}-{suffix}"


def _overlay(segmentation: Segmentation, request: Request, view: View) -> bytes:
    buffer = io.BytesIO()
    drawn = segmentation.overlay(opacity=view.opacity, labels=view.labels, outlines=view.outlines)
    drawn.save(buffer, "PNG", dpi=(DPI, DPI))
    return buffer.getvalue()


def _label_map(segmentation: Segmentation, request: Request, view: View) -> bytes:
    return encode_label_map(segmentation.label_map, segmentation.class_names)


def _coco(segmentation: Segmentation, request: Request, view: View) -> bytes:
    record = segmentation_record(
        segmentation.label_map,
        segmentation.class_names,
        segmentation.scores,
        segmentation.best_scores,
        synonyms=[entry.synonyms for entry in segmentation.vocabulary.classes],
        settings={"granularity": request.granularity, **request.save(), **known_settings(segmentation)},
    )
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1).encode("utf-8")


def _masks(segmentation: Segmentation, request: Request, view: View) -> bytes:
    return masks_zip(kept_masks(segmentation))


KINDS: Mapping[str, tuple[str, Callable[[Segmentation, Request, View], bytes]]] = MappingProxyType(
    {
        "overlay": ("overlay.png", _overlay),
        "label-map": ("label-map.png", _label_map),
        "coco": ("coco.json", _coco),
        "masks": ("masks.zip", _masks),
    }
)
"""Kinds of files: how their names end, and what writes them."""
