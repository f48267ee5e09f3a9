"""CLIP's byte-pair encoding, at the vocabulary size and context length of a given text tower."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from ovseg_demo.errors import CheckpointError, VocabularyError

_NOT_MERGED = 2 * 256 + 2  # each byte within a word and at its end; the start and the end token
_REMEMBERED_WORDS = 50_000


class Tokenizer:
    """Turns texts into token ids.

    Ids are, in this order: bytes, bytes that end a word, merges by rank, the start and the end token. A text
    tower with fewer tokens than CLIP's 49,408 knows the first merges only: words take more tokens there, and
    any can still be spelled.

    Attributes:
        context_length: the most tokens a text may have, start and end included.
        start: id of the start token.
        end: id of the end token, the highest.
    """

    def __init__(self, vocabulary_size: int, context_length: int) -> None:
        """Tokenize for a token embedding of ``vocabulary_size`` rows and ``context_length`` positions.

        Raises:
            CheckpointError: CLIP's byte-pair encoding has no part of that size.
        """
        self._bpe = _TruncatedBpe(vocabulary_size)
        self.context_length = context_length
        self.start, self.end = vocabulary_size - 2, vocabulary_size - 1

    def encode(self, text: str) -> list[int]:
        """Token ids of a text without start and end; the text is cleaned and lower-cased as CLIP does."""
        return self._bpe.encode(text)

    def enclose(self, ids: Sequence[int], name: str, reserved: int = 0) -> list[int]:
        """Put ``ids`` between the start and the end token.

        Args:
            ids: token ids of a text with a class name in it.
            name: the class name, for the error.
            reserved: positions that something else will take.

        Raises:
            VocabularyError: all that is longer than the context.
        """
        needed = len(ids) + 2 + reserved
        if needed > self.context_length:
            raise VocabularyError(
                f'"{name}" makes a text of {needed} tokens; this model reads at most {self.context_length}. '
                "Use a shorter name."
            )
        return [self.start, *ids, self.end]

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids of texts, from start to end and padded with zeros: int64 (len(texts), context_length).

        Raises:
            VocabularyError: a text is longer than the context.
        """
        rows = torch.zeros(len(texts), self.context_length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.enclose(self.encode(text), text)
            row[: len(ids)] = torch.tensor(ids)
        return rows


class _TruncatedBpe(SimpleTokenizer):
    """open_clip's tokenizer, stopped after its first merges."""

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
        # Without a limit the base class remembers every word that any visitor ever typed.
        if len(self.cache) > _REMEMBERED_WORDS:
            self.cache = dict(self._special)
        return super().bpe(token)
