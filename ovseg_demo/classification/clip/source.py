"""What a CLIP is built from: tensors, and where its files tell them, configuration and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClipSource:
    """The content of a CLIP's files.

    Attributes:
        tensors: by name, as open_clip or OpenAI names them.
        model: ``model_cfg`` of open_clip's configuration; empty where the tensors alone tell the sizes.
        preprocessing: ``preprocess_cfg``: the pixels' mean and standard deviation, and the resize rule.
        tokenizer: ``tokenizer.json``, for text towers that need it.
        quick_gelu: whether a CLIP without a configuration was trained with QuickGELU.
    """

    tensors: Mapping[str, Tensor]
    model: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    tokenizer: Path | None = None
    quick_gelu: bool = True
