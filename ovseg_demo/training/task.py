"""What a training stage defines: its network, its samples, its loss and its figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, default_collate


class TrainingTask(nn.Module, ABC):
    """A network, its data and its loss; see :mod:`ovseg_demo.training.loop` for a template.

    A checkpoint holds ``state_dict()``, so every weight that is trained must be in the module. A module that
    must not be saved (a teacher) is kept out of it inside a tuple.
    """

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimizers' groups, each with ``params``, ``lr`` (the peak) and ``weight_decay``.

        Groups with ``"muon": True`` are trained by Muon, the others by AdamW.
        """

    @abstractmethod
    def dataset(self) -> Dataset:
        """Return a map-style dataset; ``[i]`` exists for every i ≥ 0 and depends on i and the seed alone."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return a batch (a tensor, or nested dicts, lists and tuples of them) of samples.

        Runs in the workers.
        """
        return default_collate(list(samples))

    @abstractmethod
    def forward(self, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the scalar loss of this process's part of the batch, and detached scalars for the log.

        Runs under the runtime's autocast, in training mode.
        """

    def before_step(self, progress: float) -> None:
        """Change what depends on the share of the schedule that is done (0 to 1); called before each step."""

    def after_step(self) -> None:
        """Apply constraints to the weights, such as a clamp; called after each optimizer step."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Return validation figures.

        Runs on the main process, in evaluation mode, without gradients.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights in the published file format."""
