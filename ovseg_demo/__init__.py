"""Open-vocabulary semantic segmentation: type class names, see the map."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ovseg_demo import errors

if TYPE_CHECKING:
    from ovseg_demo.models.loading import load_segmenter
    from ovseg_demo.segmentation import Segmentation
    from ovseg_demo.segmenter import Segmenter
    from ovseg_demo.vocabulary import Vocabulary

__all__ = ["Segmentation", "Segmenter", "Vocabulary", "errors", "load_segmenter"]

_HOMES = {
    "Segmentation": "ovseg_demo.segmentation",
    "Segmenter": "ovseg_demo.segmenter",
    "Vocabulary": "ovseg_demo.vocabulary",
    "load_segmenter": "ovseg_demo.models.loading",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that ``import ovseg_demo`` itself does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
