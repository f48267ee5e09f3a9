"""Mask-adapted CLIP, which embeds masked regions and class names in one space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.known_tokens import known_tokens
from ovseg_demo.classification.clip.network import (
    MASK_EMBEDDING,
    build_clip,
    check_mask_embedding,
    fingerprint,
)
from ovseg_demo.classification.clip.prefix_tree import grow_trees
from ovseg_demo.classification.clip.prompts import LearnedPrompts
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import encode_regions, encode_tree
from ovseg_demo.classification.duplicates import find_originals
from ovseg_demo.classification.regions import iterate_regions
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.progress import (
    EMBEDDING_REGIONS,
    ENCODING_NAMES,
    ProgressCallback,
    RegionsCallback,
    no_progress,
)
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import LEARNED, TEMPLATES, TOO_MANY_TOKENS, UNKNOWN, check_templates

_LONGEST_TEMPLATE = 40  # more tokens than any template has, learned ones included

# Larger batches make a CPU no faster, and small ones report progress more often.
_TOKENS_PER_BATCH = {"cpu": 1024}
_TOKENS_PER_BATCH_ELSEWHERE = 32_768
# In a larger tree the texts share more tokens, but the cost of attention grows with the square of the nodes.
# At 512 nodes, attention is a tenth of the work.
_NODES_PER_TREE = 512


class MaskAdaptedClip:
    """A :class:`~ovseg_demo.classification.types.RegionClassifier` that embeds one crop for each mask.

    An un-adapted CLIP is one without mask prompts.

    Attributes:
        fingerprint: a hash of the weights and the activation; a part of cache keys.
    """

    def __init__(
        self,
        model: CLIP,
        tokenizer: Tokenizer,
        mask_embedding: Tensor | None,
        prompts: LearnedPrompts | None,
        fingerprint: str,
        text_fingerprint: str,
        runtime: Runtime,
        known: np.ndarray,
    ) -> None:
        self.fingerprint = fingerprint
        self._text_fingerprint = text_fingerprint
        self._known = known
        self._dtype = runtime.dtype
        self._model = model
        self._tokenizer = tokenizer
        self._mask_embedding = mask_embedding
        self._prompts = prompts
        self._device = runtime.device
        self._tokens_per_batch = _TOKENS_PER_BATCH.get(runtime.device.type, _TOKENS_PER_BATCH_ELSEWHERE)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, runtime: Runtime, quick_gelu: bool = True
    ) -> MaskAdaptedClip:
        """Return the classifier of these tensors; their shapes give its sizes.

        Args:
            tensors: tensors under OpenAI's names, with or without ``visual.mask_embedding`` and
                ``prompt_learner.*``.
            runtime: the device, and the dtype of the large weight matrices.
            quick_gelu: whether the weights were trained with QuickGELU instead of GELU.

        Raises:
            CheckpointError: the tensors are not those of a CLIP, or their prompts do not fit the CLIP.
        """
        model = build_clip(tensors, quick_gelu=quick_gelu, dtype=runtime.dtype, device=runtime.device)
        mask_embedding = tensors.get(MASK_EMBEDDING)
        if mask_embedding is not None:
            check_mask_embedding(model, mask_embedding)
            mask_embedding = mask_embedding.to(runtime.device, torch.float32)
        tokenizer = Tokenizer(model.vocab_size, model.context_length)
        return cls(
            model=model.requires_grad_(False),
            tokenizer=tokenizer,
            known=known_tokens(tensors["token_embedding.weight"], tokenizer),
            mask_embedding=mask_embedding,
            prompts=LearnedPrompts.from_tensors(tensors, runtime.device),
            fingerprint=fingerprint(tensors, quick_gelu),
            text_fingerprint=fingerprint(
                {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")},
                quick_gelu,
            ),
            runtime=runtime,
        )

    @property
    def has_mask_prompts(self) -> bool:
        """Whether the model has learned tokens for blank patches."""
        return self._mask_embedding is not None

    @property
    def has_learned_prompts(self) -> bool:
        """Whether class names can be embedded with the templates "learned"."""
        return self._prompts is not None

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        return self._model.visual.output_dim

    @property
    def input_size(self) -> int:
        """The side of the square regions that the image tower takes, in pixels."""
        return self._model.visual.image_size[0]

    def text_key(self, templates: str) -> str:
        """Return a hash of everything except the names that determines the result of :meth:`embed_names`.

        The hash is the same in every process. CLIPs that differ only in their image towers have the same
        hash: OVSeg's CLIP, for example, and the CLIP that it was adapted from.
        """
        texts = TEMPLATES.get(templates, (templates,))
        # open_clip's version stands for its tokenizer.
        parts = self._text_fingerprint, str(self._dtype), open_clip.__version__, texts
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names that the text tower cannot use, each with the reason.

        A name is unknown if all of its tokens are (:mod:`.known_tokens`).

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
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

    def fallbacks(self) -> Iterator[tuple[str, MaskAdaptedClip]]:
        """Yield variants that need less memory each time: what is reduced, and the variant."""
        for fallback, tokens in (("smaller batches", self._tokens_per_batch // 8), ("one at a time", 1)):
            variant = copy(self)
            variant._tokens_per_batch = tokens
            yield fallback, variant

    @torch.inference_mode()
    def embed_regions(
        self,
        proposals: Proposals,
        *,
        mask_prompts: bool = True,
        progress: ProgressCallback = no_progress,
        on_regions: RegionsCallback | None = None,
    ) -> np.ndarray:
        """Return the unit-length embedding of each proposal's region: float32 (N, D).

        The largest regions are embedded first. Masks that make practically the same crop
        (:mod:`ovseg_demo.classification.duplicates`) get the same embedding.

        Args:
            proposals: the masks and the image that they belong to.
            mask_prompts: whether to use the mask prompts, if the model has them.
            progress: called after each batch; it may stop the work by raising an exception.
            on_regions: called after each batch with float32 (N, D), in which the regions that are not
                embedded yet are 0.
        """
        mask_embedding = self._mask_embedding if mask_prompts else None
        batch = max(1, self._tokens_per_batch // len(self._model.visual.positional_embedding))
        distinct, place = np.unique(find_originals(proposals), return_inverse=True)
        embeddings = np.zeros((len(distinct), self._model.visual.output_dim), dtype=np.float32)
        order = np.argsort(-proposals.areas[distinct], kind="stable")
        done = 0
        progress(EMBEDDING_REGIONS, done, len(distinct))
        for regions, masks in iterate_regions(
            proposals, self.input_size, batch, self._device, distinct[order]
        ):
            features = encode_regions(self._model, mask_embedding, regions, masks)
            embeddings[order[done : done + len(features)]] = F.normalize(features, dim=-1).cpu().numpy()
            done += len(features)
            if on_regions is not None:
                on_regions(embeddings[place])
            progress(EMBEDDING_REGIONS, done, len(distinct))
        return embeddings[place]

    @torch.inference_mode()
    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return for each name the normalised mean of its normalised features over all templates.

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
        if not names:
            return np.empty((0, self._model.visual.output_dim), dtype=np.float32)
        texts = [self._tokenize(name, templates) for name in names]
        prompts = self._prompts if templates == LEARNED else None
        per_name = len(texts[0])

        def report(done: int) -> None:
            progress(ENCODING_NAMES, done // per_name, len(names))

        features = self._encode_texts([ids for of_name in texts for ids in of_name], prompts, report)
        means = features.unflatten(0, (len(names), per_name)).mean(dim=1)
        return F.normalize(means, dim=-1).cpu().numpy()

    def _tokenize(self, name: str, templates: str) -> list[list[int]]:
        """Return the token ids of each template, filled in with the name."""
        check_templates(templates)
        if templates != LEARNED:
            texts = [template.format(name) for template in TEMPLATES[templates]]
            return [self._tokenizer.enclose(self._tokenizer.encode(text), name) for text in texts]
        if self._prompts is None:
            raise ModelError(
                f"This model has no learned prompts; choose other templates: {', '.join(TEMPLATES)}."
            )
        return [self._prompts.tokenize(name, self._tokenizer)]

    def _encode_texts(
        self, texts: Sequence[Sequence[int]], prompts: LearnedPrompts | None, report: Callable[[int], None]
    ) -> Tensor:
        """Return unit-length features (len(texts), D); a beginning that texts share is computed once."""
        features = torch.empty(len(texts), self._model.visual.output_dim, device=self._device)
        table = self._model.token_embedding.weight
        done = 0
        report(done)
        for tree in grow_trees(texts, min(_NODES_PER_TREE, self._tokens_per_batch)):
            ids, ends = (torch.tensor(part, device=self._device) for part in (tree.ids, tree.ends))
            embedded = table[ids] if prompts is None else prompts.embed(ids, table)
            encoded = encode_tree(self._model, embedded, tree.visible().to(self._device), ends)
            features[tree.texts] = F.normalize(encoded, dim=-1)
            done += len(tree.texts)
            report(done)
        return features
