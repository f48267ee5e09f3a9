"""Learned prompts: vectors in place of the text around a class name (SimSeg, arXiv 2112.14757)."""

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
    """Rows that stand before and after a class name among the text tower's input embeddings.

    Attributes:
        prefix: float32 (P, C).
        suffix: float32 (S, C).
    """

    prefix: Tensor
    suffix: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> LearnedPrompts | None:
        """Read them from a SimSeg checkpoint's tensors; ``None`` where there are none.

        The checkpoint's copies of fixed token embeddings are not needed.

        Raises:
            CheckpointError: their width is not the text tower's.
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
        """Token ids of start, prefix, the bare class name, suffix, a full stop and end.

        Prompts have the ids after the vocabulary's: the prefix first, then the suffix.

        Raises:
            VocabularyError: with the prompts, they are longer than the context.
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
        """Embed token ids (L,) of which some are prompts': (L, C).

        Args:
            ids: from :meth:`tokenize`.
            table: of the text tower, float32 (vocabulary, C).
        """
        rows = table[ids.clamp(max=len(table) - 1)]
        is_prompt = ids >= len(table)
        rows[is_prompt] = torch.cat([self.prefix, self.suffix])[ids[is_prompt] - len(table)]
        return rows
