"""The types of stage 1: class-agnostic mask proposals, and the interface of their generators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np

from ovseg_demo.errors import ModelError
from ovseg_demo.progress import ProgressCallback, no_progress


@dataclass(frozen=True, eq=False)
class MaskQueries:
    """The soft masks and class embeddings of a query-based generator (MaskFormer), for the ensemble rule.

    Attributes:
        mask_logits: float32 (Q, h4, w4), a low-resolution logit map of each query, over the *padded* input.
        class_embeddings: float32 (Q, D), not normalised, in the space of the text embeddings.
        non_object_embedding: float32 (D,), not normalised: the class "none of the names".
        kept: int64 (N,), the query of each proposal; a query whose binary mask is empty has no proposal.
        padded_size: (height, width) in pixels of the padded input that ``mask_logits`` spans.
    """

    mask_logits: np.ndarray
    class_embeddings: np.ndarray
    non_object_embedding: np.ndarray
    kept: np.ndarray
    padded_size: tuple[int, int]


@dataclass(frozen=True)
class MaskPrompt:
    """Where a person points to get one mask.

    Attributes:
        inside: (x, y) of pixels that belong to the mask, in the image's pixels.
        outside: (x, y) of pixels that do not.
        box: (x0, y0, x1, y1), with exclusive end, around the mask; or ``None``.

    Raises:
        ModelError: there is neither a pixel inside nor a box.
    """

    inside: tuple[tuple[float, float], ...] = ()
    outside: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if not self.inside and self.box is None:
            raise ModelError("A mask needs a point inside it or a box around it; give one.")


@dataclass(frozen=True, eq=False)
class Proposals:
    """N class-agnostic binary masks of one image, bit-packed, at the generator's working resolution.

    Attributes:
        packed_masks: uint8 (N, h, ceil(w / 8)), ``np.packbits`` along the last axis.
        boxes: int32 (N, 4), tight boxes xyxy with exclusive end, in working pixels.
        scores: float32 (N,), the generator's own estimate of quality; higher is better.
        working_image: uint8 RGB (h, w, 3), the image at the working resolution; regions are cropped from it.
        image_size: (height, width) of the original image.
        generator: name of the generator: "sam", "maskformer" or "detectron2".
        queries: MaskFormer's soft masks and class embeddings; ``None`` for other generators.
        fallback: what was reduced because memory was short, such as "masks of 640 pixels"; otherwise empty.
        embedding: float32 (1, C, g, g), Segment Anything's image embedding, from which it makes further masks
            (:meth:`ovseg_demo.Segmenter.mask_at`); ``None`` for other generators.
        points_per_side: of the grid at which Segment Anything proposed the masks; ``None`` for other
            generators.
    """

    packed_masks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    working_image: np.ndarray
    image_size: tuple[int, int]
    generator: str
    queries: MaskQueries | None = None
    fallback: str = ""
    embedding: np.ndarray | None = None
    points_per_side: int | None = None

    @classmethod
    def from_masks(
        cls,
        masks: np.ndarray,
        scores: np.ndarray,
        working_image: np.ndarray,
        image_size: tuple[int, int],
        generator: str,
        queries: MaskQueries | None = None,
    ) -> Proposals:
        """Return proposals with these masks, bool (N, h, w), each of which has at least one true pixel.

        Raises:
            ValueError: a mask is empty, or the shapes disagree.
        """
        masks = np.asarray(masks, dtype=bool)
        if masks.ndim != 3 or masks.shape[1:] != working_image.shape[:2] or len(masks) != len(scores):
            raise ValueError(
                f"masks {masks.shape}, scores {np.shape(scores)} and working image {working_image.shape} "
                "disagree"
            )
        return cls(
            packed_masks=np.packbits(masks, axis=-1),
            boxes=tight_boxes(masks),
            scores=np.asarray(scores, dtype=np.float32),
            working_image=working_image,
            image_size=image_size,
            generator=generator,
            queries=queries,
        )

    def __len__(self) -> int:
        return len(self.packed_masks)

    @property
    def working_size(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        return self.working_image.shape[:2]

    @property
    def masks(self) -> np.ndarray:
        """All masks unpacked: a new bool array (N, h, w)."""
        return self.unpack(slice(None))

    @property
    def areas(self) -> np.ndarray:
        """The number of working pixels of each mask: int64 (N,)."""
        return np.bitwise_count(self.packed_masks).sum(axis=(1, 2), dtype=np.int64)

    def take(self, indices: np.ndarray) -> Self:
        """Return some of the proposals, by their indices, int64 (n,), without what belongs to all of them."""
        arrays = {name: getattr(self, name)[indices] for name in ("packed_masks", "boxes", "scores")}
        return replace(self, **arrays, queries=None, embedding=None)

    def unpack(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return one mask, bool (h, w), or several, bool (n, h, w)."""
        width = self.working_size[1]
        return np.unpackbits(self.packed_masks[index], axis=-1, count=width).view(bool)

    @property
    def nbytes(self) -> int:
        """The bytes that the arrays hold, for the budget of a cache."""
        arrays = [self.packed_masks, self.boxes, self.scores, self.working_image]
        if self.queries is not None:
            arrays += [self.queries.mask_logits, self.queries.class_embeddings]
        if self.embedding is not None:
            arrays.append(self.embedding)
        return sum(array.nbytes for array in arrays)


class ProposalGenerator(Protocol):
    """Stage 1: a function from an image to proposals, without state between calls.

    Attributes:
        name: "sam", "maskformer" or "detectron2".
    """

    name: str

    @property
    def settings(self) -> tuple:
        """A hashable value that, with the image and the weights, determines the proposals; for cache keys."""
        ...

    def __call__(self, image: np.ndarray, *, progress: ProgressCallback = no_progress) -> Proposals:
        """Return the proposals for an RGB image, uint8 (H, W, 3)."""
        ...

    def fallbacks(self) -> Iterator[tuple[str, ProposalGenerator]]:
        """Yield variants that need less memory each time: what is reduced, and the variant.

        The variants use this generator's network.
        """
        ...


@runtime_checkable
class GridProposalGenerator(ProposalGenerator, Protocol):
    """A generator that proposes masks for a grid of points over the image."""

    @property
    def points_per_side(self) -> int:
        """Points along each side of the grid."""
        ...

    def with_points(self, points_per_side: int) -> GridProposalGenerator:
        """Return the same generator with another grid; both share the network."""
        ...

    def __call__(
        self,
        image: np.ndarray,
        *,
        progress: ProgressCallback = no_progress,
        embedding: np.ndarray | None = None,
    ) -> Proposals:
        """Return the proposals for an RGB image, uint8 (H, W, 3).

        With ``embedding``, that of the same image's proposals from another grid, the image is not encoded
        again.
        """
        ...


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """Return the tight boxes of bool masks (N, h, w): int32 (N, 4), xyxy with exclusive end.

    Raises:
        ValueError: a mask has no true pixel.
    """
    boxes = np.empty((len(masks), 4), dtype=np.int32)
    for box, mask in zip(boxes, masks, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        columns = np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise ValueError("a mask without a true pixel has no box")
        box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
