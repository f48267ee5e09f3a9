"""The types of stage 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ovseg_demo.progress import ProgressCallback, RegionsCallback, no_progress
from ovseg_demo.proposals.types import Proposals


class RegionClassifier(Protocol):
    """Stage 2: embeds masked regions and class names in one space, in which the cosine compares them.

    Attributes:
        fingerprint: hash of the weights and of every setting that changes the embeddings; part of cache keys.
        has_mask_prompts: whether ``mask_prompts`` makes a difference.
        has_learned_prompts: whether the templates "learned" can be used.
    """

    fingerprint: str

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        ...

    @property
    def has_mask_prompts(self) -> bool:
        """As above."""
        ...

    @property
    def has_learned_prompts(self) -> bool:
        """As above."""
        ...

    def embed_regions(
        self,
        proposals: Proposals,
        *,
        mask_prompts: bool = True,
        progress: ProgressCallback = no_progress,
        on_regions: RegionsCallback | None = None,
    ) -> np.ndarray:
        """Return the unit-length embedding of each of N proposals: float32 (N, D)."""
        ...

    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return the unit-length embedding of each name: float32 (len(names), D)."""
        ...

    def text_key(self, templates: str) -> str:
        """Return a hash of all that :meth:`embed_names` depends on besides the names."""
        ...

    def fallbacks(self) -> Iterator[tuple[str, RegionClassifier]]:
        """Yield variants that need less and less memory, each with the name of what was reduced."""
        ...
