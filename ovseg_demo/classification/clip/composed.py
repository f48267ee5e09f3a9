"""A classifier put together from a text side and an image side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Self

import numpy as np

from ovseg_demo.classification.clip.name_encoder import NameEncoder
from ovseg_demo.classification.clip.reader import RegionReader
from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.progress import ProgressCallback, RegionsCallback, no_progress
from ovseg_demo.proposals.types import Proposals


class ClipClassifier:
    """A :class:`~ovseg_demo.classification.types.RegionClassifier` of any CLIP.

    Attributes:
        regions: embeds masked regions.
        names: embeds class names.
        fingerprint: a hash of the weights and of the settings of both sides.
        logit_scale: the factor on similarities before the softmax over the names.
    """

    has_mask_prompts = False

    def __init__(self, regions: RegionReader, names: NameEncoder, fingerprint: str, logit_scale: float):
        self.regions = regions
        self.names = names
        self.fingerprint = fingerprint
        self.logit_scale = logit_scale

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        return self.names.width

    @property
    def has_learned_prompts(self) -> bool:
        """Whether :meth:`embed_names` accepts the templates "learned"."""
        return self.names.has_learned_prompts

    def embed_regions(
        self,
        proposals: Proposals,
        *,
        mask_prompts: bool = True,
        progress: ProgressCallback = no_progress,
        on_regions: RegionsCallback | None = None,
    ) -> RegionEmbeddings:
        """Return the embedding of each proposal's region; there are no mask prompts to use."""
        if not len(proposals):
            return RegionEmbeddings(np.zeros((0, self.width), np.float32))
        return self.regions.embed(proposals, progress, on_regions)

    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return the embedding of each name: see :meth:`.NameEncoder.embed`."""
        return self.names.embed(names, templates, progress=progress)

    def text_key(self, templates: str) -> str:
        """Return a hash of what determines text embeddings: see :meth:`.NameEncoder.key`."""
        return self.names.key(templates)

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names that the text tower cannot use, each with the reason.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        return self.names.obstacles(names, templates)

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield variants that need less memory: what is reduced, and the variant."""
        for fallback, regions in self.regions.fallbacks():
            variant = copy(self)
            variant.regions = regions
            variant.names = self.names.with_batches_of(1)
            yield fallback, variant
