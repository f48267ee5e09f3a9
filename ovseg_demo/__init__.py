"""Open-vocabulary semantic segmentation: name the classes, get the label map.

The public API is the names in ``__all__``; docs/reference/python.md documents each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ovseg_demo import errors

if TYPE_CHECKING:
    from ovseg_demo.analysis import Analysis
    from ovseg_demo.classification.corrections import Correction
    from ovseg_demo.classification.rules import EnsembleRule, GranularityRule
    from ovseg_demo.datasets.predictor import Predictor
    from ovseg_demo.models.loading import load_segmenter
    from ovseg_demo.proposals.types import MaskPrompt
    from ovseg_demo.segmentation import Segmentation
    from ovseg_demo.segmenter import Segmenter
    from ovseg_demo.vocabulary import Vocabulary

__all__ = [
    "Analysis",
    "Correction",
    "EnsembleRule",
    "GranularityRule",
    "MaskPrompt",
    "Predictor",
    "Segmentation",
    "Segmenter",
    "Vocabulary",
    "errors",
    "load_segmenter",
]

_MODULES = {
    "Analysis": "ovseg_demo.analysis",
    "Correction": "ovseg_demo.classification.corrections",
    "EnsembleRule": "ovseg_demo.classification.rules",
    "GranularityRule": "ovseg_demo.classification.rules",
    "MaskPrompt": "ovseg_demo.proposals.types",
    "Predictor": "ovseg_demo.datasets.predictor",
    "Segmentation": "ovseg_demo.segmentation",
    "Segmenter": "ovseg_demo.segmenter",
    "Vocabulary": "ovseg_demo.vocabulary",
    "load_segmenter": "ovseg_demo.models.loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import ovseg_demo`` alone does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
