"""Build the classifier of a CLIP: which image side and which text side its files and settings ask for."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

from open_clip.model import CLIP, CustomTextCLIP
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.composed import ClipClassifier
from ovseg_demo.classification.clip.crops import Crops
from ovseg_demo.classification.clip.name_encoder import NameEncoder, causal_names
from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip, build_text_tower, fingerprint
from ovseg_demo.classification.clip.open_clip_model import build_open_clip, place_weights
from ovseg_demo.classification.clip.padded_names import PaddedNames, make_tokenizer
from ovseg_demo.classification.clip.reader import RegionReader
from ovseg_demo.classification.clip.source import ClipSource
from ovseg_demo.classification.clip.towers import TextTower
from ovseg_demo.classification.pooled import mask_pooling, text_region
from ovseg_demo.classification.pooled.conv_tower import ConvTower, convnext_tower, is_convolutional
from ovseg_demo.classification.pooled.mask_pooling import MaskPooling
from ovseg_demo.classification.pooled.name_consistency import NameConsistency
from ovseg_demo.classification.pooled.small_masks import SmallMasksAsCrops
from ovseg_demo.classification.pooled.text_region import TextRegion, TextRegionSettings
from ovseg_demo.classification.pooled.vit_towers import (
    CLIP_TILE,
    ClipViT,
    TimmViT,
    WholeViT,
    has_attention_pool,
    is_clip_vit,
)
from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD
from ovseg_demo.classification.types import LOGIT_SCALE, REGIONS, RegionClassifier
from ovseg_demo.errors import CheckpointError, ModelError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.tensors import tensors_below

_POOLING = {
    "mask-pooling": mask_pooling.AREA,
    "fc-clip": mask_pooling.FC_CLIP,
    "soft-pooling": mask_pooling.SOFT,
}
_TEXT_REGION = ("text-region", "text-region-native")
_CONVNEXT_STEM = "visual.trunk.stem.0.weight"
_CROP_SIDE = 256
"""Pixels along a side of a crop for a ConvNeXt without a configuration; it takes any size."""


class Tuned(NamedTuple):
    """MaskCLIP++'s fine-tuned parts, which replace those of the CLIP that they were tuned from.

    Attributes:
        tensors: under open_clip's names, ``visual.*`` and, where the text tower was tuned, the text tower's.
        consistency: of the consistency module.
    """

    tensors: Mapping[str, Tensor]
    consistency: Mapping[str, Tensor]


def build_classifier(
    source: ClipSource, runtime: Runtime, regions: str = "auto", tuned: Tuned | None = None
) -> RegionClassifier:
    """Return the classifier of a CLIP.

    Args:
        source: the content of its files.
        runtime: device and precision.
        regions: one of :data:`.types.REGIONS`.
        tuned: MaskCLIP++'s parts, which read masks by "soft-pooling" alone.

    Raises:
        CheckpointError: the files do not make up a CLIP that can be built here.
        ModelError: this CLIP's image tower cannot read regions in that way.
        MissingDependencyError: the package that reads names for this CLIP is not installed.
    """
    if tuned is not None:
        if regions not in ("auto", "soft-pooling"):
            raise ModelError(f'MaskCLIP++ reads regions by "soft-pooling", not by "{regions}"; leave it out.')
        source = _replace_parts(source, tuned)
        regions = "soft-pooling"
    is_openai = not source.model and _CONVNEXT_STEM not in source.tensors
    if is_openai and regions in ("auto", "crops"):
        return MaskAdaptedClip.from_tensors(source.tensors, runtime=runtime, quick_gelu=source.quick_gelu)
    parts = _build_parts(source, runtime)
    regions = _default_regions(parts.visual) if regions == "auto" else regions
    consistency = None if tuned is None else NameConsistency.from_tensors(tuned.consistency, runtime.device)
    reader = _make_reader(parts, source, runtime, regions, consistency)
    # The mean of the cosines with the templates is MaskCLIP++'s baseline; its own module reads unit means.
    unit_mean = regions != "soft-pooling" or tuned is not None
    names = _make_names(parts, source, runtime, unit_mean)
    weights = fingerprint(source.tensors, parts.quick_gelu, source.model)
    key = weights, regions, reader.settings, consistency is not None
    scale = 1.0 if tuned is not None else _logit_scale(source.tensors, regions)
    return ClipClassifier(reader, names, hashlib.sha256(repr(key).encode()).hexdigest(), scale)


class _Parts(NamedTuple):
    visual: nn.Module
    text: TextTower | CustomTextCLIP
    size: int
    width: int
    quick_gelu: bool


def _build_parts(source: ClipSource, runtime: Runtime) -> _Parts:
    """Return the two towers, the side of a crop in pixels, and the width of the embeddings."""
    if source.model:
        model = build_open_clip(source.model, source.tensors, runtime)
        width, quick_gelu = source.model["embed_dim"], bool(source.model.get("quick_gelu"))
        return _Parts(model.visual, _text_of(model, source), model.visual.image_size[0], width, quick_gelu)
    if _CONVNEXT_STEM in source.tensors:
        visual = tensors_below(source.tensors, "visual.")
        tower = place_weights(lambda: convnext_tower(visual), visual, "a CLIP with a ConvNeXt", runtime)
        text = build_text_tower(source.tensors, dtype=runtime.dtype, device=runtime.device)
        return _Parts(tower, text, _CROP_SIDE, text.text_projection.shape[1], quick_gelu=False)
    own = {name: tensor for name, tensor in source.tensors.items() if name != MASK_EMBEDDING}
    clip = build_clip(own, quick_gelu=source.quick_gelu, dtype=runtime.dtype, device=runtime.device)
    clip.requires_grad_(False)
    return _Parts(clip.visual, clip, clip.visual.image_size[0], clip.visual.output_dim, source.quick_gelu)


def _text_of(model: CLIP | CustomTextCLIP, source: ClipSource) -> TextTower | CustomTextCLIP:
    """Return the causal text tower of a CLIP; or the whole CLIP, if its text tower reads the padding, too.

    Raises:
        CheckpointError: the text tower reads texts in another way.
    """
    tower = model.text if isinstance(model, CustomTextCLIP) else model
    has_own_tokenizer = bool(source.model["text_cfg"].get("hf_tokenizer_name"))
    if has_own_tokenizer and tower is not model:
        return model
    pool = source.model["text_cfg"].get("pool_type", "argmax")
    is_causal = tower.attn_mask is not None and pool == "argmax"
    is_plain = getattr(tower, "cls_emb", None) is None and isinstance(tower.text_projection, Tensor)
    if has_own_tokenizer or not (is_causal and is_plain):
        raise CheckpointError(
            "The text tower of this CLIP reads texts neither as CLIP's nor as SigLIP's does; take another "
            "CLIP."
        )
    return tower


def _make_names(parts: _Parts, source: ClipSource, runtime: Runtime, unit_mean: bool) -> NameEncoder:
    prefix = "text."
    tensors = {name.removeprefix(prefix): tensor for name, tensor in source.tensors.items()}
    if isinstance(parts.text, CustomTextCLIP):
        config = source.model["text_cfg"]
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith("visual.")}
        return PaddedNames(parts.text, make_tokenizer(config, source.tokenizer), own, runtime, config)
    config = source.model.get("text_cfg")
    return causal_names(parts.text, tensors, runtime, parts.quick_gelu, config=config, unit_mean=unit_mean)


def _make_reader(
    parts: _Parts,
    source: ClipSource,
    runtime: Runtime,
    regions: str,
    consistency: NameConsistency | None,
) -> RegionReader:
    mean = tuple(source.preprocessing.get("mean") or CLIP_MEAN)
    std = tuple(source.preprocessing.get("std") or CLIP_STD)
    visual = parts.visual
    if regions == "crops":
        return Crops(visual, parts.size, parts.width, mean, std, runtime)

    def with_crops(pooled: RegionReader) -> SmallMasksAsCrops:
        tower = WholeViT(visual) if is_clip_vit(visual) else visual
        return SmallMasksAsCrops(pooled, Crops(tower, parts.size, parts.width, mean, std, runtime))

    if regions in _TEXT_REGION:
        is_native = regions == "text-region-native"
        tower = _make_vit(visual, is_native, runtime)
        if tower is not None:
            settings = TextRegionSettings.of_tiles(tower.tile) if is_native else TextRegionSettings()
            is_bilinear = source.preprocessing.get("interpolation") == "bilinear"
            interpolation = "bilinear" if is_bilinear else "bicubic"
            return with_crops(TextRegion(tower, settings, mean, std, runtime, interpolation))
    elif regions in _POOLING and (isinstance(visual, ConvTower) or is_convolutional(visual)):
        tower = visual if isinstance(visual, ConvTower) else ConvTower.of(visual)
        pooled = MaskPooling(tower, _POOLING[regions], mean, std, runtime, consistency)
        # Every mask covers a part of some cell, so that none is too small for weights by area.
        return pooled if _POOLING[regions].weights == "area" else with_crops(pooled)
    elif regions not in REGIONS:
        raise ModelError(f'There is no way to read regions "{regions}"; choose one of {", ".join(REGIONS)}.')
    kind = "a ViT like CLIP's or SigLIP's" if regions in _TEXT_REGION else "a convolutional image tower"
    raise ModelError(
        f'"{regions}" needs a CLIP with {kind}, which this one has not; choose "crops" or "auto" instead.'
    )


def _make_vit(visual: nn.Module, is_native: bool, runtime: Runtime) -> text_region.ViT | None:
    """Return the tower as TextRegion reads it, or ``None`` if it is no ViT that it can read."""
    if is_clip_vit(visual):
        return ClipViT(visual, visual.image_size[0] if is_native else CLIP_TILE)
    return TimmViT(visual, runtime) if has_attention_pool(visual) else None


def _default_regions(visual: nn.Module) -> str:
    if is_convolutional(visual) or isinstance(visual, ConvTower):
        return "fc-clip" if isinstance(visual.trunk, ConvNeXt) else "mask-pooling"
    if is_clip_vit(visual) or has_attention_pool(visual):
        return "text-region"
    return "crops"


def _logit_scale(tensors: Mapping[str, Tensor], regions: str) -> float:
    """Return the factor on similarities: the one that the CLIP was trained with, or the method's own."""
    learned = tensors.get("logit_scale")
    trained = LOGIT_SCALE if learned is None else math.exp(float(learned))
    if "logit_bias" in tensors:  # a sigmoid was trained, whose bias cancels in the softmax
        return trained
    return text_region.LOGIT_SCALE if regions in _TEXT_REGION else min(trained, LOGIT_SCALE)


def _replace_parts(source: ClipSource, tuned: Tuned) -> ClipSource:
    kept = {name: tensor for name, tensor in source.tensors.items() if not name.startswith("visual.")}
    return ClipSource(
        {**kept, **tuned.tensors}, source.model, source.preprocessing, source.tokenizer, source.quick_gelu
    )
