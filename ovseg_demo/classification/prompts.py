"""Learned prompts: vectors in place of the words around a class name (SimSeg, Xu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ovseg_demo.classification.tokenizer import Tokenizer
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
        """Token ids of the bare class name and a full stop, from start to end.

        Raises:
            VocabularyError: with the prompts, they are longer than the context.
        """
        ids = [*tokenizer.encode(name), *tokenizer.encode(".")]
        return tokenizer.enclose(ids, name, reserved=len(self.prefix) + len(self.suffix))

    def insert(self, embedded: Tensor) -> Tensor:
        """Insert the prompts into embedded tokens (L, C): start, prefix, name, suffix, full stop, end."""
        start, name, full_stop_and_end = embedded[:1], embedded[1:-2], embedded[-2:]
        return torch.cat([start, self.prefix, name, self.suffix, full_stop_and_end])
