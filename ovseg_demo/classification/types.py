"""The interface of stage 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ovseg_demo.progress import ProgressCallback, RegionsCallback, no_progress
from ovseg_demo.proposals.types import Proposals


class RegionClassifier(Protocol):
    """Stage 2: embeds masked regions and class names in one space, where their similarity is the cosine.

    Attributes:
        fingerprint: a hash of the weights and of every setting that changes the embeddings; a part of cache
            keys.
    """

    fingerprint: str

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        ...

    @property
    def has_mask_prompts(self) -> bool:
        """Whether ``mask_prompts`` of :meth:`embed_regions` has an effect."""
        ...

    @property
    def has_learned_prompts(self) -> bool:
        """Whether :meth:`embed_names` accepts the templates "learned"."""
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

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names whose embeddings would mean nothing, each with the reason."""
        ...

    def text_key(self, templates: str) -> str:
        """Return a hash of everything except the names that determines the result of :meth:`embed_names`."""
        ...

    def fallbacks(self) -> Iterator[tuple[str, RegionClassifier]]:
        """Yield variants that need less memory each time: what is reduced, and the variant."""
        ...
