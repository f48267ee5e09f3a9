"""CLIP's byte-pair encoding for the vocabulary size and context length of a text tower."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import islice

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from ovseg_demo.errors import CheckpointError, VocabularyError

_NOT_MERGED = 2 * 256 + 2  # each byte inside a word and at its end, the start token, the end token
_REMEMBERED_WORDS = 50_000


class Tokenizer:
    """Converts texts to token ids.

    The order of the ids is: bytes, bytes that end a word, merges by rank, start token, end token. A text
    tower with fewer tokens than CLIP's 49,408 has only the first merges. It needs more tokens for a word, but
    it can still encode every word.

    Attributes:
        context_length: the maximum number of tokens of a text, start and end included.
        start: the id of the start token.
        end: the id of the end token, the highest id.
    """

    def __init__(self, vocabulary_size: int, context_length: int) -> None:
        """Make a tokenizer for a text tower of ``vocabulary_size`` tokens and ``context_length`` positions.

        Raises:
            CheckpointError: CLIP's byte-pair encoding cannot be cut to that size.
        """
        self._bpe = _read_bpe(vocabulary_size)
        self.context_length = context_length
        self.start, self.end = vocabulary_size - 2, vocabulary_size - 1

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text without start and end; it is cleaned and lower-cased as by CLIP."""
        return self._bpe.encode(text)

    def spelling(self, token: int) -> str:
        """Return how the byte-pair encoding writes a token; "</w>" stands at the end of a word."""
        return self._bpe.decoder[token]

    @property
    def spells_text(self) -> np.ndarray:
        """Whether each token but start and end spells whole characters: bool (tokens - 2,), read-only."""
        return self._bpe.spells_text

    def enclose(self, ids: Sequence[int], name: str, reserved: int = 0) -> list[int]:
        """Return ``ids`` between the start and the end token.

        Args:
            ids: the token ids of a text that contains a class name.
            name: the class name, for the error message.
            reserved: the number of positions to leave free.

        Raises:
            VocabularyError: the result and the reserved positions are longer than the context.
        """
        needed = len(ids) + 2 + reserved
        if needed > self.context_length:
            raise VocabularyError(
                f'"{name}" makes a text of {needed} tokens; this model reads at most {self.context_length}. '
                "Use a shorter name."
            )
        return [self.start, *ids, self.end]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the token ids of texts, start to end, zero-padded: int64 (len(texts), context_length).

        Raises:
            VocabularyError: a text is longer than the context.
        """
        rows = torch.zeros(len(texts), self.context_length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.enclose(self.encode(text), text)
            row[: len(ids)] = torch.tensor(ids)
        return rows


@lru_cache(maxsize=4)  # it takes a tenth of a second, and nearly every CLIP has the same
def _read_bpe(vocabulary_size: int) -> _TruncatedBpe:
    return _TruncatedBpe(vocabulary_size)


class _TruncatedBpe(SimpleTokenizer):
    """open_clip's tokenizer with only its first merges."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        if not _NOT_MERGED <= vocabulary_size <= self.vocab_size:
            raise CheckpointError(
                f"The text tower knows {vocabulary_size:,} tokens, not {_NOT_MERGED} to {self.vocab_size:,} "
                "as a CLIP's; take another CLIP."
            )
        *tokens, start, end = self.encoder
        known = [*tokens[: vocabulary_size - 2], start, end]
        self.encoder = {token: i for i, token in enumerate(known)}
        self.decoder = dict(enumerate(known))
        self.bpe_ranks = dict(islice(self.bpe_ranks.items(), vocabulary_size - _NOT_MERGED))
        self._special = {start: start, end: end}

    def bpe(self, token: str) -> str:
        # The base class caches without a limit: it would keep every word that visitors type.
        if len(self.cache) > _REMEMBERED_WORDS:
            self.cache = dict(self._special)
        return super().bpe(token)

    @cached_property
    def spells_text(self) -> np.ndarray:
        spellings = (self.decoder[token].removesuffix("</w>") for token in range(len(self.decoder) - 2))
        spells = (_is_text(bytes(map(self.byte_decoder.__getitem__, spelling))) for spelling in spellings)
        is_text = np.fromiter(spells, bool)
        is_text.flags.writeable = False
        return is_text


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
