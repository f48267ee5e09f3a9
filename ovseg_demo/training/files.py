"""The files of a training run and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

CHECKPOINT_FILE = "checkpoint.pt"
"""The state that a resumed run starts from: weights, optimizers, step, elapsed time and settings."""

WEIGHTS_FILE = "weights.pt"
"""The trained weights in the published file format."""


def save_atomically(value: Any, path: Path) -> None:
    """Write a file with ``torch.save``; an interruption leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(value, part)
    part.replace(path)
