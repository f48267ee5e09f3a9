"""Text embeddings of class names by text towers that read the padding, too: SigLIP's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from open_clip.model import CustomTextCLIP
from open_clip.tokenizer import get_clean_fn
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.name_encoder import (
    check_prompts,
    mean_over_templates,
    tokens_per_batch,
)
from ovseg_demo.classification.clip.network import fingerprint
from ovseg_demo.errors import CheckpointError, MissingDependencyError, VocabularyError
from ovseg_demo.progress import ENCODING_NAMES, ProgressCallback, no_progress
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import TEMPLATES, TOO_MANY_TOKENS, UNKNOWN

INSTALL_COMMAND = "pip install tokenizers"


class PaddedTokenizer:
    """A tokenizer of Hugging Face's ``tokenizers``, which pads every text to the full context.

    Attributes:
        context_length: L.
        key: a hash of the file and of the settings.

    Args:
        file: ``tokenizer.json``.
        context_length: L.
        pad_id: of the padding token.
        clean: the name of open_clip's text cleaning: "canonicalize", "lower" or "whitespace".

    Raises:
        MissingDependencyError: the package ``tokenizers`` is not installed.
        CheckpointError: the file is not a tokenizer.
    """

    def __init__(self, file: Path, context_length: int, pad_id: int, clean: str):
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise MissingDependencyError(
                f'This CLIP reads names with the package tokenizers; install it with "{INSTALL_COMMAND}".'
            ) from None
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises plain exceptions
            raise CheckpointError(f'"{file}" is not a tokenizer ({error}); download it again.') from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._clean = get_clean_fn(clean)
        self._pad_id = pad_id
        self.context_length = context_length
        settings = f"{context_length} {pad_id} {clean}".encode()
        self.key = hashlib.sha256(settings + file.read_bytes()).hexdigest()

    def __call__(self, text: str, name: str = "") -> list[int]:
        """Return the token ids of a text, padded to the context.

        Args:
            text: the text.
            name: the class name in it, for the error message.

        Raises:
            VocabularyError: the text is longer than the context.
        """
        ids = self._tokenizer.encode(self._clean(text)).ids
        if len(ids) > self.context_length:
            raise VocabularyError(
                f'"{name or text}" makes a text of {len(ids)} tokens; this model reads at most '
                f"{self.context_length}. Use a shorter name."
            )
        return ids + [self._pad_id] * (self.context_length - len(ids))

    def is_unknown(self, text: str) -> bool:
        """Return whether a text has no token but special ones, such as "unknown" and "end"."""
        encoding = self._tokenizer.encode(self._clean(text), add_special_tokens=False)
        unknown = self._tokenizer.token_to_id("<unk>")
        return all(token == unknown for token in encoding.ids)


class PaddedNames:
    """A :class:`.name_encoder.NameEncoder` that runs a text tower on padded texts.

    Args:
        model: a CLIP of open_clip with a text tower of its own.
        tokenizer: of the text tower.
        tensors: of the text tower, for the key of caches.
        runtime: the device and precision of the tower.
        config: ``text_cfg`` of open_clip's configuration, for the key of caches.
    """

    has_learned_prompts = False

    def __init__(
        self,
        model: CustomTextCLIP,
        tokenizer: PaddedTokenizer,
        tensors: Mapping[str, Tensor],
        runtime: Runtime,
        config: Mapping[str, Any] | None = None,
    ):
        self._model = model
        self._tokenizer = tokenizer
        self._runtime = runtime
        self._fingerprint = fingerprint(tensors, False, config), tokenizer.key
        self._tokens_per_batch = tokens_per_batch(runtime.device)

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        return self._model.text.output_dim

    def with_batches_of(self, tokens: int) -> Self:
        """See :meth:`.NameEncoder.with_batches_of`."""
        variant = copy(self)
        variant._tokens_per_batch = tokens
        return variant

    def key(self, templates: str) -> str:
        """See :meth:`.NameEncoder.key`."""
        parts = self._fingerprint, str(self._runtime.dtype), TEMPLATES.get(templates, (templates,))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names that the text tower cannot use, each with the reason.

        Raises:
            ModelError: the templates are unknown, or "learned", which this kind of model lacks.
        """
        check_prompts(templates, self.has_learned_prompts)
        found = {}
        for name in names:
            if self._tokenizer.is_unknown(name):
                found[name] = UNKNOWN
                continue
            try:
                for template in TEMPLATES[templates]:
                    self._tokenizer(template.format(name), name)
            except VocabularyError:
                found[name] = TOO_MANY_TOKENS
        return found

    @torch.inference_mode()
    def embed(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return for each name the mean of its unit features over all templates, scaled to unit length.

        Raises:
            ModelError: the templates are unknown, or "learned", which this kind of model lacks.
            VocabularyError: a name is too long for the text tower.
        """
        check_prompts(templates, self.has_learned_prompts)
        if not names:
            return np.empty((0, self.width), dtype=np.float32)
        texts = TEMPLATES[templates]
        ids = torch.tensor([self._tokenizer(text.format(name), name) for name in names for text in texts])
        batch = max(1, self._tokens_per_batch // self._tokenizer.context_length)
        features = []
        for start in range(0, len(ids), batch):
            progress(ENCODING_NAMES, start // len(texts), len(names))
            features.append(self.encode(ids[start : start + batch]))
        progress(ENCODING_NAMES, len(names), len(names))
        return mean_over_templates(F.normalize(torch.cat(features), dim=-1), len(names))

    def encode(self, ids: Tensor) -> Tensor:
        """Return the text features, float32 (B, D), not normalised, of token ids (B, L)."""
        with self._runtime.autocast():
            return self._model.encode_text(ids.to(self._runtime.device)).float()


def make_tokenizer(text_config: Mapping[str, Any], file: Path | None) -> PaddedTokenizer:
    """Return the tokenizer of a text tower.

    Args:
        text_config: ``text_cfg`` of open_clip's configuration.
        file: ``tokenizer.json`` beside the weights, or ``None``.

    Raises:
        CheckpointError: the file is missing.
        MissingDependencyError: the package ``tokenizers`` is not installed.
    """
    if file is None:
        raise CheckpointError(
            f'This CLIP reads texts with the tokenizer "{text_config.get("hf_tokenizer_name")}"; put its '
            '"tokenizer.json" beside the weights, in the same folder.'
        )
    clean = text_config.get("tokenizer_kwargs", {}).get("clean", "whitespace")
    context_length = text_config.get("context_length", 77)
    return PaddedTokenizer(file, context_length, text_config.get("pad_id", 0), clean)
