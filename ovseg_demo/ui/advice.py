"""What to say beside a map about its class names and its image, one sentence each, and the remedies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ovseg_demo.classification.outvoted import Outvoted, find_outvoted
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message
from ovseg_demo.vocabulary import OTHERS, Vocabulary

if TYPE_CHECKING:
    from ovseg_demo.ui.session import DisplayedMap

_NOT_READ = {
    "advice.negation": r"\b(no|not|without|except|non)\b|n't\b",
    "advice.count": r"^\d+ |\b(two|three|four|five|six|seven|eight|nine|ten|several|many|both)\b",
    "advice.position": r"\b(left|right|leftmost|rightmost|topmost|upper|lower|behind|beside|between|above|"
    r"below|under|next to|in front of|on top of|in the (middle|background|foreground))\b",
}
"""What CLIP does not read in a name, by the key of the sentence that says so."""


MOST_REMEDIES = 2
"""Names that are said to be outvoted."""

_STEP = 0.05  # between two least scores


def advice(displayed: DisplayedMap, texts: Texts) -> list[str]:
    """Return the sentences for a map; none, if there is nothing to say."""
    return [
        *_about_names(displayed.segmentation.vocabulary, texts),
        *_about_image(displayed, texts),
    ]


def remedies(displayed: DisplayedMap, partition: MaskPartition, texts: Texts) -> list[Message]:
    """Return which names are not found although a mask is surely theirs, each with its remedy.

    Args:
        displayed: the map.
        partition: of its masks.
        texts: of the page.
    """
    segmentation = displayed.segmentation
    if not isinstance(segmentation.rule, GranularityRule):
        return []
    found = find_outvoted(
        partition,
        np.hstack([segmentation.probabilities, segmentation.distractor_probabilities]),
        segmentation.areas,
        segmentation.rule.granularity,
    )
    sentences = (_remedy(displayed, one, texts) for one in found)
    return [sentence for sentence in sentences if sentence is not None][:MOST_REMEDIES]


def _remedy(displayed: DisplayedMap, outvoted: Outvoted, texts: Texts) -> Message | None:
    """Return a sentence and, if there is a remedy, its button; ``None`` where a correction hides the name."""
    segmentation = displayed.segmentation
    name, granularity = segmentation.class_names[outvoted.index], outvoted.granularity
    values = {"name": name, "score": f"{outvoted.score:.2f}"}
    if outvoted.share:
        least = segmentation.least_score(name)
        if outvoted.share >= least:
            return None
        lower = int(outvoted.share / _STEP) * _STEP
        label = texts.format("advice.set_least", score=f"{lower:.2f}")
        button = {"label": label, "name": name, "minScore": round(lower, 2)}
        return {"text": texts.format("advice.below_least", least=f"{least:.2f}", **values), "button": button}
    if granularity is None:
        return {"text": texts.format("advice.outvoted_always", **values)}
    text = texts.format("advice.outvoted", granularity=f"{segmentation.rule.granularity:g}", **values)
    label = texts.format("advice.set_granularity", granularity=f"{granularity:g}")
    return {"text": text, "button": {"label": label, "granularity": granularity}}


def _about_names(vocabulary: Vocabulary, texts: Texts) -> Iterator[str]:
    if len(vocabulary.classes) == 1 and set(vocabulary.distractors) <= {OTHERS}:
        yield texts.format("advice.alone", name=vocabulary.class_names[0])
    for key, pattern in _NOT_READ.items():
        found = [name for name in vocabulary.class_names if re.search(pattern, name, re.IGNORECASE)]
        if found:
            yield texts.format(key, name=found[0])


def _about_image(displayed: DisplayedMap, texts: Texts) -> Iterator[str]:
    image = displayed.image
    if image.original_size is not None:
        width, height = image.original_size
        yield texts.format(
            "advice.scaled", original=f"{width:,}×{height:,}", size=f"{image.width:,}×{image.height:,}"
        )
