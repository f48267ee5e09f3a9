"""The interface of stage 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ovseg_demo.progress import ProgressCallback, RegionsCallback, no_progress
from ovseg_demo.proposals.types import Proposals

LOGIT_SCALE = 100.0
"""Factor on similarities before the softmax, unless a classifier has its own."""


REGIONS = (
    "auto",
    "crops",
    "text-region",
    "text-region-native",
    "mask-pooling",
    "fc-clip",
    "soft-pooling",
)
"""How masked regions are read.

"crops" runs the image tower once for each mask. The others run it once for the image. For ViTs there are
"text-region" and "text-region-native", whose tiles are of the size that the ViT was trained with. For
convolutional towers there are "mask-pooling", and as published "fc-clip" and "soft-pooling" (MaskCLIP++'s
baseline). "auto" takes "crops" for a file in OpenAI's format; otherwise "fc-clip" for a ConvNeXt,
"mask-pooling" for another convolutional tower and "text-region" for a ViT.
"""


class NameAdaptation(Protocol):
    """A function of one image that changes text embeddings before they are compared with its regions."""

    @property
    def nbytes(self) -> int:
        """The bytes that it holds."""
        ...

    def __call__(self, names: np.ndarray) -> np.ndarray:
        """Return the adapted embeddings, float32 (names, D), of text embeddings, float32 (names, D).

        Each row depends on its own name and on the image alone.
        """
        ...


MOST_SMALL_CROPS = 16
"""How many masks that are too small for a pooled classifier's grid are read as crops."""


@dataclass(frozen=True, eq=False)
class RegionEmbeddings:
    """The result of stage 2 for one image.

    Attributes:
        vectors: float32 (N, D), unit length; 0 for a region that is not embedded yet.
        adaptation: how the image changes text embeddings; ``None`` means that it does not.
        small: indices of the masks that are too small for the classifier's grid. The largest
            :data:`MOST_SMALL_CROPS` of them were read as crops, the others at their nearest cell.
    """

    vectors: np.ndarray
    adaptation: NameAdaptation | None = None
    small: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """The bytes that the arrays hold."""
        return self.vectors.nbytes + (0 if self.adaptation is None else self.adaptation.nbytes)


class RegionClassifier(Protocol):
    """Stage 2: embeds masked regions and class names in one space, and compares them by their dot product.

    Region embeddings have unit length. Text embeddings have, too, unless the method says otherwise; their
    dot product is then the cosine.

    Attributes:
        fingerprint: a hash of the weights and of every setting that changes the embeddings; a part of cache
            keys.
        logit_scale: the factor on the dot products before the softmax over the names.
    """

    fingerprint: str
    logit_scale: float

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
    ) -> RegionEmbeddings:
        """Return the embedding of each of N proposals.

        ``on_regions`` is called with the vectors that are known so far, if the classifier computes them in
        parts.
        """
        ...

    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return the embedding of each name: float32 (len(names), D)."""
        ...

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names whose embeddings would mean nothing, each with the reason.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        ...

    def text_key(self, templates: str) -> str:
        """Return a hash of everything except the names that determines the result of :meth:`embed_names`."""
        ...

    def fallbacks(self) -> Iterator[tuple[str, RegionClassifier]]:
        """Yield variants that need less memory each time: what is reduced, and the variant."""
        ...
