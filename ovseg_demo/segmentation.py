"""The result: a label map and everything that explains it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ovseg_demo.classification.rules import Rule
from ovseg_demo.classification.score_maps import UNLABELLED, ScoreMap
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from ovseg_demo.visualization.legend import LegendEntry


class Timing(NamedTuple):
    """How long one stage of the work took.

    Attributes:
        stage: a constant of :mod:`ovseg_demo.progress`.
        seconds: the time it took.
        was_cached: whether its result came from a cache.
    """

    stage: str
    seconds: float
    was_cached: bool


class ClassShare(NamedTuple):
    """A class's part in a pixel: its score divided by the sum of all scores there."""

    name: str
    share: float
    is_distractor: bool


@dataclass(frozen=True, eq=False)
class PixelExplanation:
    """Why a pixel is labelled as it is.

    Attributes:
        x, y: column and row of the pixel.
        label: index of its class, or -1.
        name: the class or the distractor with the highest score; ``None`` under no mask.
        classes: all classes and distractors with their shares, the winner first; empty under no mask.
        masks: int64 (n,), the masks over the pixel, by their contribution to the winner, the largest first:
            indices of proposals, or of MaskFormer's queries where the masks are soft.
        contributions: float32 (n,), what each mask adds to the winner's score; they add up to it.
        mask: bool (H, W), the mask that contributes most, at the image's size; ``None`` under no mask.
    """

    x: int
    y: int
    label: int
    name: str | None
    classes: tuple[ClassShare, ...]
    masks: np.ndarray
    contributions: np.ndarray
    mask: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented image of H × W pixels, for K classes and N proposals.

    Attributes:
        image: uint8 RGB (H, W, 3).
        vocabulary: the K classes and the hidden distractors.
        proposals: the N masks.
        probabilities: float32 (N, K), of each proposal being of each class.
        kept: bool (N,), the proposals that take part in the label map.
        label_map: int32 (H, W), indices of classes, -1 where unlabelled.
        areas: int64 (K,), pixels of each class.
        scores: float32 (K,) in [0, 1], how sure the label map is of a class: the mean over its pixels of its
            share of all scores there, those of other classes and of distractors included. 0 without pixels.
        score_map: what the label map was read off.
        rule: how the masks became the map.
        classifier: the name of the classifier that named the masks.
        templates: the name of the prompt templates.
        timings: of the stages that this result took.
        notes: what was reduced because memory was short: a phrase for each stage.
    """

    image: np.ndarray
    vocabulary: Vocabulary
    proposals: Proposals
    probabilities: np.ndarray
    kept: np.ndarray
    label_map: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    score_map: ScoreMap
    rule: Rule
    classifier: str
    templates: str
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.vocabulary.class_names

    @property
    def best_scores(self) -> np.ndarray:
        """The highest probability that any proposal has for each class, kept or not: float32 (K,)."""
        return self.probabilities.max(axis=0, initial=0)

    def legend(self) -> tuple[LegendEntry, ...]:
        """One entry a class: found ones by area, then the others by their best score."""
        from ovseg_demo.visualization.legend import legend_entries

        return legend_entries(
            self.class_names, self.areas, self.scores, self.best_scores, pixels=self.label_map.size
        )

    def overlay(self, **options: object) -> Image.Image:
        """The label map over its image, with its legend; ``options`` are those of ``render_overlay``."""
        from ovseg_demo.visualization.rendering import render_overlay

        return render_overlay(self.image, self.label_map, self.legend(), **options)

    def save(self, folder: str | Path) -> None:
        """Write all files of the result, as :func:`ovseg_demo.export.folder.save_segmentation` does."""
        from ovseg_demo.export.folder import save_segmentation

        save_segmentation(self, folder)

    def explain(self, x: int, y: int) -> PixelExplanation:
        """Explain the label of the pixel in column ``x`` and row ``y``.

        Raises:
            ValueError: there is no such pixel.
        """
        height, width = self.label_map.shape
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"there is no pixel ({x}, {y}) in an image of {width} × {height} pixels")
        weights = self.score_map.mask_weights(x, y)
        scores = weights @ self.score_map.probabilities
        if not scores.max() > 0:
            return PixelExplanation(
                x, y, UNLABELLED, None, (), np.zeros(0, np.int64), np.zeros(0, np.float32), None
            )
        label = int(self.label_map[y, x])
        winner = label if label != UNLABELLED else int(scores.argmax())
        contributions = weights * self.score_map.probabilities[:, winner]
        covering = np.flatnonzero(weights)
        by_contribution = covering[np.argsort(-contributions[covering], kind="stable")]
        return PixelExplanation(
            x=x,
            y=y,
            label=label,
            name=self._column_names[winner],
            classes=tuple(self._class_share(column, scores) for column in np.argsort(-scores, kind="stable")),
            masks=self.score_map.masks.indices[by_contribution],
            contributions=contributions[by_contribution],
            mask=self.score_map.mask(by_contribution[0]),
        )

    @property
    def _column_names(self) -> tuple[str, ...]:
        return (*self.class_names, *self.vocabulary.distractors)

    def _class_share(self, column: int, scores: np.ndarray) -> ClassShare:
        is_distractor = column >= len(self.class_names)
        return ClassShare(
            self._column_names[column], float(scores[column] / scores.sum()), bool(is_distractor)
        )


def low_memory_note(stage: str, fallback: str) -> tuple[str, ...]:
    """Return the note that tells what a stage reduced for lack of memory; none where it reduced nothing."""
    return (f"{stage}: {fallback}, because memory was short",) if fallback else ()
