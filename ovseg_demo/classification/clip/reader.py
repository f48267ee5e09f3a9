"""The interface of the image side of a classifier that is not OVSeg's own."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Protocol, Self

from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.progress import ProgressCallback, RegionsCallback
from ovseg_demo.proposals.types import Proposals


class RegionReader(Protocol):
    """Embeds the masked regions of an image."""

    @property
    def settings(self) -> Hashable:
        """A value that, with the weights and the proposals, determines the embeddings."""
        ...

    def embed(
        self, proposals: Proposals, progress: ProgressCallback, on_regions: RegionsCallback | None
    ) -> RegionEmbeddings:
        """Return the unit-length embedding of each of N masks.

        Args:
            proposals: the masks and their image; at least one mask.
            progress: called during the work; it may stop the work by raising an exception.
            on_regions: called with the vectors that are known so far, if they come in parts.
        """
        ...

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield variants that need less memory each time: what is reduced, and the variant."""
        ...
