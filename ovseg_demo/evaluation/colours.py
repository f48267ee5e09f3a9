"""Accuracy of the colour of unseen colour-noun pairs, on crops of Sticker World."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.sticker_world import COLOURS, UNSEEN_PAIRS, Crop, render_crop
from ovseg_demo.vocabulary import ClassName, Vocabulary

CHOICES = tuple(colour for colour in COLOURS if any(colour == seen for seen, _ in UNSEEN_PAIRS))
"""The eight colours that compete."""

CROP_SIZE = 96
CLASSIFYING_COLOURS = "Colours"
"""Stage name."""


def colour_accuracy(
    segmenter: Segmenter,
    classifier: str = CLASSIFIERS[0],
    *,
    crops_per_pair: int = 4,
    first_seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> float:
    """Return the percentage of crops whose right name ("red mushroom", "blue mushroom", …) scores highest.

    Each crop's object is cut out by its perfect mask.

    Args:
        segmenter: the model.
        classifier: one of its classifiers.
        crops_per_pair: number of crops of each colour-noun pair that is in no training split.
        first_seed: of the crops, which are of the validation split.
        progress: called after each pair.
    """
    pairs = sorted(UNSEEN_PAIRS)
    right: list[bool] = []
    for number, (colour, noun) in enumerate(pairs):
        progress(CLASSIFYING_COLOURS, number, len(pairs))
        classes = tuple(ClassName(f"{choice} {noun}") for choice in CHOICES)
        vocabulary = Vocabulary(classes)
        seed = first_seed + number * crops_per_pair
        for crop in _crops(range(seed, seed + crops_per_pair), noun, colour):
            analysis = segmenter.classify(crop.image, _as_proposal(crop), classifier=classifier)
            found = analysis.segment(vocabulary, granularity=0)
            right.append(CHOICES[found.probabilities[0].argmax()] == colour)
    progress(CLASSIFYING_COLOURS, len(pairs), len(pairs))
    return 100 * float(np.mean(right))


def _crops(seeds: range, noun: str, colour: str) -> Iterator[Crop]:
    for seed in seeds:
        crop = render_crop(seed, "validation", CROP_SIZE, noun=noun, colour=colour)
        if crop.mask.any():  # false if a neighbour covers it
            yield crop


def _as_proposal(crop: Crop) -> Proposals:
    return Proposals.from_masks(crop.mask[None], np.ones(1), crop.image, crop.image.shape[:2], "oracle")
