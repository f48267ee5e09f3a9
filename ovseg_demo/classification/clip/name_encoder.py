"""Text embeddings of class names: the interface, and CLIP's causal text tower."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Protocol, Self

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.known_tokens import known_tokens
from ovseg_demo.classification.clip.network import fingerprint
from ovseg_demo.classification.clip.prefix_tree import grow_trees
from ovseg_demo.classification.clip.prompts import LearnedPrompts
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import TextTower, encode_tree
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.progress import ENCODING_NAMES, ProgressCallback, no_progress
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import LEARNED, TEMPLATES, TOO_MANY_TOKENS, UNKNOWN, check_templates

# Larger batches make a CPU no faster, and small ones report progress more often.
_TOKENS_PER_BATCH = {"cpu": 1024}
_TOKENS_PER_BATCH_ELSEWHERE = 32_768
# In a larger tree the texts share more tokens, but the cost of attention grows with the square of the nodes.
# At 512 nodes, attention is a tenth of the work.
_NODES_PER_TREE = 512
_LONGEST_TEMPLATE = 40  # more tokens than any template has, learned ones included


class NameEncoder(Protocol):
    """The text side of a classifier."""

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        ...

    @property
    def has_learned_prompts(self) -> bool:
        """Whether :meth:`embed` accepts the templates "learned"."""
        ...

    def embed(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return the embedding of each name: float32 (len(names), D).

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
            VocabularyError: a name is too long for the text tower.
        """
        ...

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names whose embeddings would mean nothing, each with the reason.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        ...

    def key(self, templates: str) -> str:
        """Return a hash of everything except the names that determines the result of :meth:`embed`."""
        ...

    def with_batches_of(self, tokens: int) -> Self:
        """Return the same encoder with batches of at most so many tokens, and at least one text."""
        ...


class CausalNames:
    """The :class:`NameEncoder` of a causal text tower with CLIP's byte-pair encoding.

    Args:
        tower: the network; its weights have the dtype in which matrix products are computed.
        tokenizer: cut to the tower's vocabulary.
        prompts: the learned prompts of the checkpoint, if it has any.
        known: bool (tokens,), from :func:`.known_tokens.known_tokens`.
        fingerprint: a hash of the tower's weights, activation and configuration.
        tokens_per_batch: the largest number of tokens that are computed at once.
        unit_mean: whether the mean over the templates is scaled to unit length. Without it, the dot product
            with a region is the mean of the templates' cosines.
    """

    def __init__(
        self,
        tower: TextTower,
        tokenizer: Tokenizer,
        prompts: LearnedPrompts | None,
        known: np.ndarray,
        fingerprint: str,
        tokens_per_batch: int,
        *,
        unit_mean: bool = True,
    ):
        self._tower = tower
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._known = known
        self._fingerprint = fingerprint
        self._tokens_per_batch = tokens_per_batch
        self._unit_mean = unit_mean

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        return self._tower.text_projection.shape[1]

    @property
    def has_learned_prompts(self) -> bool:
        """Whether the checkpoint has learned prompts."""
        return self._prompts is not None

    def with_batches_of(self, tokens: int) -> Self:
        """Return the same encoder with batches of at most so many tokens, and at least one text."""
        variant = copy(self)
        variant._tokens_per_batch = tokens
        return variant

    def key(self, templates: str) -> str:
        """Return a hash of everything except the names that determines the result of :meth:`embed`.

        The hash is the same in every process. CLIPs that differ only in their image towers have the same
        hash: OVSeg's CLIP, for example, and the CLIP that it was adapted from.
        """
        texts = TEMPLATES.get(templates, (templates,))
        dtype = self._tower.transformer.resblocks[0].attn.in_proj_weight.dtype
        # open_clip's version stands for its tokenizer.
        parts = self._fingerprint, str(dtype), open_clip.__version__, texts
        if not self._unit_mean:
            parts = *parts, "mean"
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names that the text tower cannot use, each with the reason.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        check_prompts(templates, self.has_learned_prompts)
        found = {}
        for name in names:
            tokens = self._tokenizer.encode(name)
            if not self._known[tokens].any():
                found[name] = UNKNOWN
            elif len(tokens) + _LONGEST_TEMPLATE > self._tokenizer.context_length:
                try:
                    self._tokenize(name, templates)
                except VocabularyError:
                    found[name] = TOO_MANY_TOKENS
        return found

    @torch.inference_mode()
    def embed(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return for each name the mean of its unit features over all templates, scaled to unit length.

        Args:
            names: class names, synonyms and distractors.
            templates: a key of :data:`ovseg_demo.vocabulary.TEMPLATES`, or "learned" for the prompts in the
                model.
            progress: called after each batch; it may stop the work by raising an exception.

        Returns:
            float32 (len(names), D).

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
            VocabularyError: a name is too long for the text tower.
        """
        check_prompts(templates, self.has_learned_prompts)
        if not names:
            return np.empty((0, self.width), dtype=np.float32)
        texts = [self._tokenize(name, templates) for name in names]
        prompts = self._prompts if templates == LEARNED else None
        per_name = len(texts[0])

        def report(done: int) -> None:
            progress(ENCODING_NAMES, done // per_name, len(names))

        features = self._encode_texts([ids for of_name in texts for ids in of_name], prompts, report)
        return mean_over_templates(features, len(names), unit=self._unit_mean)

    def _tokenize(self, name: str, templates: str) -> list[list[int]]:
        """Return the token ids of each template, filled in with the name."""
        if templates == LEARNED:
            return [self._prompts.tokenize(name, self._tokenizer)]
        texts = [template.format(name) for template in TEMPLATES[templates]]
        return [self._tokenizer.enclose(self._tokenizer.encode(text), name) for text in texts]

    def _encode_texts(
        self, texts: Sequence[Sequence[int]], prompts: LearnedPrompts | None, report: Callable[[int], None]
    ) -> Tensor:
        """Return unit-length features (len(texts), D); a beginning that texts share is computed once."""
        table = self._tower.token_embedding.weight
        features = torch.empty(len(texts), self.width, device=table.device)
        done = 0
        report(done)
        for tree in grow_trees(texts, min(_NODES_PER_TREE, self._tokens_per_batch)):
            ids, ends = (torch.tensor(part, device=table.device) for part in (tree.ids, tree.ends))
            embedded = table[ids] if prompts is None else prompts.embed(ids, table)
            encoded = encode_tree(self._tower, embedded, tree.visible().to(table.device), ends)
            features[tree.texts] = F.normalize(encoded, dim=-1)
            done += len(tree.texts)
            report(done)
        return features


def causal_names(
    tower: TextTower,
    tensors: Mapping[str, Tensor],
    runtime: Runtime,
    quick_gelu: bool,
    *,
    config: Mapping[str, Any] | None = None,
    unit_mean: bool = True,
) -> CausalNames:
    """Return the name encoder of a causal text tower.

    Args:
        tower: the network with its weights.
        tensors: of the whole CLIP, under OpenAI's names, with or without ``prompt_learner.*``.
        runtime: the device, for the size of batches.
        quick_gelu: whether the tower's activation is QuickGELU.
        config: ``text_cfg`` of open_clip's configuration, if there is one, for the key of caches.
        unit_mean: see :class:`CausalNames`.

    Raises:
        CheckpointError: CLIP's byte-pair encoding cannot be cut to the tower's vocabulary.
    """
    of_text = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")}
    tokenizer = Tokenizer(tower.token_embedding.num_embeddings, len(tower.positional_embedding))
    return CausalNames(
        tower,
        tokenizer,
        LearnedPrompts.from_tensors(tensors, runtime.device),
        known_tokens(tower.token_embedding.weight, tokenizer),
        fingerprint(of_text, quick_gelu, config),
        tokens_per_batch(runtime.device),
        unit_mean=unit_mean,
    )


def mean_over_templates(features: Tensor, names: int, *, unit: bool = True) -> np.ndarray:
    """Return the mean of each name's unit-length features, itself of unit length unless ``unit`` is false.

    Args:
        features: float32 (names · templates, D), all templates of the first name first.
        names: how many names there are.
        unit: whether the mean is scaled to unit length.
    """
    means = features.unflatten(0, (names, -1)).mean(dim=1)
    return (F.normalize(means, dim=-1) if unit else means).cpu().numpy()


def tokens_per_batch(device: torch.device) -> int:
    """Return how many tokens a device computes at once."""
    return _TOKENS_PER_BATCH.get(device.type, _TOKENS_PER_BATCH_ELSEWHERE)


def check_prompts(templates: str, has_learned_prompts: bool) -> None:
    """Raise :class:`ModelError` unless the templates are known and the model has them, if "learned"."""
    check_templates(templates)
    if templates == LEARNED and not has_learned_prompts:
        raise ModelError(
            f"This model has no learned prompts; choose other templates: {', '.join(TEMPLATES)}."
        )
