"""What to say beside a map about its class names and its image, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ovseg_demo.ui.language.texts import Texts
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


def advice(displayed: DisplayedMap, texts: Texts) -> list[str]:
    """Return the sentences for a map; none, if there is nothing to say."""
    return [
        *_about_names(displayed.segmentation.vocabulary, texts),
        *_about_image(displayed, texts),
    ]


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
