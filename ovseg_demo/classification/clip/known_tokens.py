"""Which tokens a text tower can know: those that spell whole characters and that training has changed."""

from __future__ import annotations

from itertools import chain

import numpy as np
from torch import Tensor

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.vocabulary import TEMPLATES

_SHRUNK = 0.75
"""The largest norm of an untrained token, relative to that of a trained one."""
_GAP = 0.03
"""The largest share of tokens between the norms of untrained and trained ones."""
_COMMON_TEMPLATES = ("vild", "photo")
"""The templates whose words every CLIP has seen in training."""
_FEWEST = 0.2
"""The smallest share of untrained tokens in a tower that has any."""


def known_tokens(embedding: Tensor, tokenizer: Tokenizer) -> np.ndarray:
    """Return for each token whether a text tower can know it: bool (tokens,).

    A byte of a character that the byte-pair encoding does not merge means nothing by itself. A token that
    training has never seen has its initial vector, or what weight decay left of it.

    Args:
        embedding: the input embeddings (tokens, D).
        tokenizer: the tokenizer of the text tower.
    """
    norms = embedding.float().norm(dim=1).cpu().numpy()
    trained = _trained(norms, _template_tokens(tokenizer))
    trained[: tokenizer.start] &= tokenizer.spells_text
    return trained


def _trained(norms: np.ndarray, surely: list[int]) -> np.ndarray:
    """Return which tokens training has changed; all of them, unless two kinds stand well apart.

    Args:
        norms: float32 (tokens,).
        surely: tokens that are in every training text.
    """
    typical = float(np.median(norms[surely]))
    is_small = norms < _SHRUNK * typical
    if is_small.mean() < _FEWEST:
        return np.ones(len(norms), bool)
    small = float(np.median(norms[is_small]))
    threshold = (small + typical) / 2
    is_between = np.abs(norms - threshold) < (typical - small) / 10
    return norms > threshold if is_between.mean() < _GAP else np.ones(len(norms), bool)


def _template_tokens(tokenizer: Tokenizer) -> list[int]:
    texts = (
        template.replace("{}", "")
        for template in chain.from_iterable(TEMPLATES[name] for name in _COMMON_TEMPLATES)
    )
    return sorted({token for text in texts for token in tokenizer.encode(text)})
