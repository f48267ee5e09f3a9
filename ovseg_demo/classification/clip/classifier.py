"""Mask-adapted CLIP, which embeds masked regions and class names in one space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import partial

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor

from ovseg_demo.classification.clip.crops import distinct_crops, embed_crops
from ovseg_demo.classification.clip.name_encoder import CausalNames, causal_names, tokens_per_batch
from ovseg_demo.classification.clip.network import (
    MASK_EMBEDDING,
    build_clip,
    check_mask_embedding,
    fingerprint,
)
from ovseg_demo.classification.clip.towers import encode_regions
from ovseg_demo.classification.regions import iterate_regions
from ovseg_demo.classification.types import LOGIT_SCALE, RegionEmbeddings
from ovseg_demo.progress import ProgressCallback, RegionsCallback, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime


class MaskAdaptedClip:
    """A :class:`~ovseg_demo.classification.types.RegionClassifier` that embeds one crop for each mask.

    An un-adapted CLIP is one without mask prompts.

    Attributes:
        fingerprint: a hash of the weights and the activation; a part of cache keys.
        logit_scale: the factor on cosines before the softmax.
    """

    logit_scale = LOGIT_SCALE

    def __init__(
        self,
        model: CLIP,
        names: CausalNames,
        mask_embedding: Tensor | None,
        fingerprint: str,
        runtime: Runtime,
    ) -> None:
        self.fingerprint = fingerprint
        self._model = model
        self._names = names
        self._mask_embedding = mask_embedding
        self._device = runtime.device
        self._tokens_per_batch = tokens_per_batch(runtime.device)

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
        return cls(
            model=model.requires_grad_(False),
            names=causal_names(model, tensors, runtime, quick_gelu),
            mask_embedding=mask_embedding,
            fingerprint=fingerprint(tensors, quick_gelu),
            runtime=runtime,
        )

    @property
    def has_mask_prompts(self) -> bool:
        """Whether the model has learned tokens for blank patches."""
        return self._mask_embedding is not None

    @property
    def has_learned_prompts(self) -> bool:
        """Whether class names can be embedded with the templates "learned"."""
        return self._names.has_learned_prompts

    @property
    def width(self) -> int:
        """D, the width of the embeddings."""
        return self._model.visual.output_dim

    @property
    def input_size(self) -> int:
        """The side of the square regions that the image tower takes, in pixels."""
        return self._model.visual.image_size[0]

    def text_key(self, templates: str) -> str:
        """Return a hash of what determines text embeddings: see :meth:`.CausalNames.key`."""
        return self._names.key(templates)

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return the names that the text tower cannot use, each with the reason.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        return self._names.obstacles(names, templates)

    def fallbacks(self) -> Iterator[tuple[str, MaskAdaptedClip]]:
        """Yield variants that need less memory each time: what is reduced, and the variant."""
        for fallback, tokens in (("smaller batches", self._tokens_per_batch // 8), ("one at a time", 1)):
            variant = copy(self)
            variant._tokens_per_batch = tokens
            variant._names = self._names.with_batches_of(tokens)
            yield fallback, variant

    @torch.inference_mode()
    def embed_regions(
        self,
        proposals: Proposals,
        *,
        mask_prompts: bool = True,
        progress: ProgressCallback = no_progress,
        on_regions: RegionsCallback | None = None,
    ) -> RegionEmbeddings:
        """Return the embedding of each proposal's region.

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
        distinct, place = distinct_crops(proposals)
        regions = iterate_regions(proposals, self.input_size, batch, self._device, distinct)
        encode = partial(encode_regions, self._model, mask_embedding)
        return embed_crops(regions, encode, place, self.width, progress, on_regions)

    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        """Return the unit-length embedding of each name: see :meth:`.CausalNames.embed`."""
        return self._names.embed(names, templates, progress=progress)
