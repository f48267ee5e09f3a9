"""Learned prompts: vectors that replace the text around a class name (SimSeg, arXiv 2112.14757)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.errors import CheckpointError

_PREFIX = "prompt_learner.prefix_prompt"
_SUFFIX = "prompt_learner.suffix_prompt"


@dataclass(frozen=True, eq=False)
class LearnedPrompts:
    """Vectors before and after a class name in the text tower's input embeddings.

    Attributes:
        prefix: float32 (P, C).
        suffix: float32 (S, C).
    """

    prefix: Tensor
    suffix: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> LearnedPrompts | None:
        """Return the learned prompts among a SimSeg checkpoint's tensors, or ``None`` if it has none.

        The checkpoint also holds copies of fixed token embeddings, which are not needed.

        Raises:
            CheckpointError: the prompts do not have the text tower's width.
        """
        if _PREFIX not in tensors and _SUFFIX not in tensors:
            return None
        none = tensors["token_embedding.weight"][:0]  # (0, C)
        found = [tensors.get(name, none) for name in (_PREFIX, _SUFFIX)]
        if any(prompts.ndim != 2 or prompts.shape[1] != none.shape[1] for prompts in found):
            shapes = " and ".join(str(tuple(prompts.shape)) for prompts in found)
            raise CheckpointError(
                f"The learned prompts have the shapes {shapes}; this text tower is {none.shape[1]} wide."
            )
        return cls(*(prompts.to(device, torch.float32) for prompts in found))

    def tokenize(self, name: str, tokenizer: Tokenizer) -> list[int]:
        """Return the token ids of start, prefix, class name, suffix, full stop and end.

        The ids of the prefix, and then of the suffix, follow those of the tokenizer's vocabulary.

        Raises:
            VocabularyError: name and prompts together are longer than the context.
        """
        ids = [*tokenizer.encode(name), *tokenizer.encode(".")]
        reserved = len(self.prefix) + len(self.suffix)
        start, *name_ids, full_stop, end = tokenizer.enclose(ids, name, reserved=reserved)
        after = tokenizer.end + 1
        prefix, suffix = (
            range(after, after + len(self.prefix)),
            range(after + len(self.prefix), after + reserved),
        )
        return [start, *prefix, *name_ids, *suffix, full_stop, end]

    def embed(self, ids: Tensor, table: Tensor) -> Tensor:
        """Return the embeddings (L, C) of token ids (L,), some of which belong to prompts.

        Args:
            ids: token ids from :meth:`tokenize`.
            table: the text tower's token embeddings, float32 (vocabulary, C).
        """
        rows = table[ids.clamp(max=len(table) - 1)]
        is_prompt = ids >= len(table)
        rows[is_prompt] = torch.cat([self.prefix, self.suffix])[ids[is_prompt] - len(table)]
        return rows
