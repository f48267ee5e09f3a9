"""The result of a segmentation: a label map and the values that explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ovseg_demo.classification.corrections import Correction
from ovseg_demo.classification.rules import Rule
from ovseg_demo.classification.score_maps import UNLABELLED, ScoreMap
from ovseg_demo.classification.types import MOST_SMALL_CROPS
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.vocabulary import Vocabulary

if TYPE_CHECKING:
    from PIL import Image

    from ovseg_demo.visualization.legend import LegendEntry


MinScore = float | Mapping[str, float]
"""A least score for all classes, or one for each class name."""


class Timing(NamedTuple):
    """The time that one stage took.

    Attributes:
        stage: the stage, a constant of :mod:`ovseg_demo.progress`.
        seconds: the time in seconds.
        was_cached: whether the stage's result came from a cache.
    """

    stage: str
    seconds: float
    was_cached: bool


class ClassShare(NamedTuple):
    """The share of a class in a pixel: its score divided by the sum of the pixel's scores."""

    name: str
    share: float
    is_distractor: bool


@dataclass(frozen=True, eq=False)
class PixelExplanation:
    """The explanation of a pixel's label.

    Attributes:
        x, y: column and row of the pixel.
        label: the index of its class, or -1.
        name: the class that a person gave the pixel, or the class or distractor with the highest score;
            ``None`` if no mask covers the pixel, or a person left it unlabelled.
        classes: all classes and distractors with their shares, the highest share first; empty if no mask
            covers the pixel.
        masks: int64 (n,), the masks over the pixel, in the order of their contributions, the largest first.
            They are indices of proposals, or of MaskFormer's queries if the masks are soft.
        contributions: float32 (n,), the part of each mask in the highest score, which is their sum.
        mask: bool (H, W), the mask that contributes most, at the image's size; ``None`` if no mask covers the
            pixel.
        is_corrected: whether a person named the pixel or left it unlabelled. Shares and masks are then what
            the model would have answered.
    """

    x: int
    y: int
    label: int
    name: str | None
    classes: tuple[ClassShare, ...]
    masks: np.ndarray
    contributions: np.ndarray
    mask: np.ndarray | None
    is_corrected: bool = False


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmented image of H × W pixels, for K classes and N proposals.

    Attributes:
        image: uint8 RGB (H, W, 3).
        vocabulary: the K classes and the hidden distractors.
        proposals: the N masks.
        probabilities: float32 (N, K), the probability that a proposal belongs to a class.
        kept: bool (N,), whether a proposal takes part in the label map.
        label_map: int32 (H, W), the index of each pixel's class, or -1.
        areas: int64 (K,), the number of pixels of each class.
        scores: float32 (K,) in [0, 1], the confidence in each class: the mean over its pixels of its score
            divided by the sum of all scores, distractors included. It is 0 for a class without pixels.
        score_map: the scores of all pixels, from which the label map follows.
        rule: the rule that computed the map from the masks.
        classifier: the name of the classifier.
        templates: the name of the prompt templates.
        timings: the timings of the stages.
        notes: a phrase for each thing that makes the result coarser than usual: what was reduced because
            memory was short, and masks too small for the classifier's grid.
        min_score: the least share of a pixel's scores with which a class was drawn: a number for all classes,
            or one for each of the vocabulary's class names.
        corrections: the areas that a person named, which lie over the map in this order.
        distractor_probabilities: float32 (N, distractors), the probabilities of the hidden distractors.
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
    min_score: MinScore = 0.0
    corrections: tuple[Correction, ...] = ()
    distractor_probabilities: np.ndarray | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.vocabulary.class_names

    @property
    def best_scores(self) -> np.ndarray:
        """The highest probability of each class over all proposals, kept or not: float32 (K,)."""
        return self.probabilities.max(axis=0, initial=0)

    def least_score(self, name: str) -> float:
        """Return the least share of a pixel's scores with which a class was drawn: from 0 to 1.

        The name's case does not matter. A class that a correction added has 0 where each class has its own.
        """
        if not isinstance(self.min_score, Mapping):
            return self.min_score
        folded = name.casefold()
        return next((least for own, least in self.min_score.items() if own.casefold() == folded), 0.0)

    def legend(self) -> tuple[LegendEntry, ...]:
        """Return one entry for each class: those found, ordered by area, then the others by best score."""
        from ovseg_demo.visualization.legend import legend_entries

        return legend_entries(
            self.class_names, self.areas, self.scores, self.best_scores, pixels=self.label_map.size
        )

    def overlay(self, **options: object) -> Image.Image:
        """Return the label map drawn over the image, with a legend; ``render_overlay`` has the options."""
        from ovseg_demo.visualization.rendering import render_overlay

        return render_overlay(self.image, self.label_map, self.legend(), **options)

    def save(self, folder: str | Path) -> None:
        """Write the result's files with :func:`ovseg_demo.export.folder.save_segmentation`."""
        from ovseg_demo.export.folder import save_segmentation

        save_segmentation(self, folder)

    def explain(self, x: int, y: int) -> PixelExplanation:
        """Return the explanation of the label of the pixel in column ``x`` and row ``y``.

        Raises:
            ValueError: there is no such pixel.
        """
        height, width = self.label_map.shape
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"there is no pixel ({x}, {y}) in an image of {width} × {height} pixels")
        weights = self.score_map.mask_weights(x, y)
        scores = weights @ self.score_map.probabilities
        label = int(self.label_map[y, x])
        is_corrected = any(correction.covers(x, y) for correction in self.corrections)
        given = None if label == UNLABELLED else self.class_names[label]
        if not scores.max() > 0:
            none = np.zeros(0, np.int64), np.zeros(0, np.float32), None
            return PixelExplanation(x, y, label, given, (), *none, is_corrected)
        winner = int(scores.argmax()) if is_corrected or given is None else label
        contributions = weights * self.score_map.probabilities[:, winner]
        covering = np.flatnonzero(weights)
        by_contribution = covering[np.argsort(-contributions[covering], kind="stable")]
        return PixelExplanation(
            x=x,
            y=y,
            label=label,
            name=given if is_corrected else self._column_names[winner],
            classes=tuple(self._class_share(column, scores) for column in np.argsort(-scores, kind="stable")),
            masks=self.score_map.masks.indices[by_contribution],
            contributions=contributions[by_contribution],
            mask=self.score_map.mask(by_contribution[0]),
            is_corrected=is_corrected,
        )

    @property
    def corrected(self) -> np.ndarray:
        """Which pixels a person named or left unlabelled: a new bool array (H, W)."""
        corrected = np.zeros(self.label_map.shape, dtype=bool)
        for correction in self.corrections:
            correction.inside(corrected)[correction.mask_in_box] = True
        return corrected

    @property
    def _column_names(self) -> tuple[str, ...]:
        return (*self.class_names, *self.vocabulary.distractors)

    def _class_share(self, column: int, scores: np.ndarray) -> ClassShare:
        is_distractor = column >= len(self.class_names)
        return ClassShare(
            self._column_names[column], float(scores[column] / scores.sum()), bool(is_distractor)
        )


def low_memory_note(stage: str, fallback: str) -> tuple[str, ...]:
    """Return the note on what a stage reduced because memory was short, or no note if it reduced nothing."""
    return (f"{stage}: {fallback}, because memory was short",) if fallback else ()


def small_masks_note(count: int) -> tuple[str, ...]:
    """Return the note on masks that are too small for the grid of a pooled classifier, or no note."""
    if not count:
        return ()
    masks = "1 mask is" if count == 1 else f"{count} masks are"
    way = "read as a crop" if count == 1 else "read as crops"
    if count > MOST_SMALL_CROPS:
        way = f"{way} ({MOST_SMALL_CROPS}) or at their nearest cell"
    return (f"{masks} smaller than a cell of the classifier's grid and {way}",)
