"""Validation figures of a CLIP: accuracy on regions of scenes, on crops, and on unseen colour-noun pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import encode_regions, encode_tokens
from ovseg_demo.classification.regions import cut_region
from ovseg_demo.proposals.types import tight_boxes
from ovseg_demo.sticker_world import (
    CLASS_NAMES,
    COLOURS,
    NOUNS,
    NOVEL_CLASSES,
    UNSEEN_PAIRS,
    Crop,
    render_crop,
    render_scene,
)
from ovseg_demo.training.crops import class_of_crop
from ovseg_demo.training.label_pairs import segments
from ovseg_demo.training.pixels import normalise
from ovseg_demo.vocabulary import TEMPLATES

FIRST_SEED = 800_000
"""First seed of the validation scenes; none of them is in the benchmark."""

_SCENE_SIZE = (640, 480)
_SMALLEST_REGION = 24 * 24
_BATCH = 256

ImageEncoder = Callable[[Tensor, Tensor], Tensor]
"""From regions (B, 3, S, S) and masks (B, 1, S, S) to features (B, E)."""


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Regions of validation scenes, and crops as in pre-training, at CLIP's input size S.

    Attributes:
        masked: float32 (N, 3, S, S), as :func:`cut_region` makes them from perfect masks of scenes.
        masks: float32 (N, 1, S, S).
        masked_labels: int64 (N,), indices into ``CLASS_NAMES``.
        unmasked: float32 (U, 3, S, S), crops of objects with their surroundings, and of stuff.
        unmasked_labels: int64 (U,).
        coloured: float32 (M, 3, S, S), unmasked crops of unseen pairs.
        pairs: M (colour, noun name).
    """

    masked: Tensor
    masks: Tensor
    masked_labels: Tensor
    unmasked: Tensor
    unmasked_labels: Tensor
    coloured: Tensor
    pairs: tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def make_validation_set(scenes: int, crops: int, crops_per_pair: int, size: int) -> ValidationSet:
    """Return the validation set, the same for the same arguments.

    Args:
        scenes: number of scenes whose objects and stuff are masked regions.
        crops: number of unmasked crops.
        crops_per_pair: number of crops of each unseen colour-noun pair.
        size: CLIP's input size.
    """
    regions = [region for seed in range(scenes) for region in _scene_regions(FIRST_SEED + seed, size)]
    masked, masks, masked_labels = zip(*regions, strict=True)
    seen = [render_crop(FIRST_SEED + seed, "validation", size) for seed in range(crops)]
    pairs = tuple(pair for pair in sorted(UNSEEN_PAIRS) for _ in range(crops_per_pair))
    coloured = [
        render_crop(FIRST_SEED + seed, "validation", size, noun=noun, colour=colour)
        for seed, (colour, noun) in enumerate(pairs)
    ]
    return ValidationSet(
        masked=torch.stack(masked),
        masks=torch.stack(masks),
        masked_labels=torch.tensor(masked_labels),
        unmasked=_to_pixels(seen, size),
        unmasked_labels=torch.tensor([class_of_crop(crop) for crop in seen]),
        coloured=_to_pixels(coloured, size),
        pairs=pairs,
    )


def classification_figures(
    model: CLIP, tokenizer: Tokenizer, data: ValidationSet, encode: ImageEncoder | None = None
) -> dict[str, float]:
    """Return top-1 accuracies in per cent among all class names: base and novel nouns, stuff; masked and not.

    Args:
        model: the towers; the text tower embeds the class names with the "vild" templates.
        tokenizer: of the text tower.
        data: regions and crops.
        encode: replaces the image tower on masked regions; by default masks are ignored.

    Returns:
        ``masked_base``, ``masked_novel``, ``masked_stuff``, the same ``unmasked_…``, and ``unseen_colours``:
        the accuracy of the colour of unseen colour-noun pairs, among the colours for that noun.
    """

    def encode_plain(regions: Tensor, masks: Tensor) -> Tensor:
        return encode_regions(model, None, regions, None)

    device = model.logit_scale.device

    names = embed_texts(model, tokenizer, CLASS_NAMES)
    masked = _encode_all(encode or encode_plain, device, data.masked, data.masks)
    unmasked = _encode_all(encode_plain, device, data.unmasked, data.unmasked)
    figures = {}
    for kind, features, labels in (
        ("masked", masked, data.masked_labels),
        ("unmasked", unmasked, data.unmasked_labels),
    ):
        right = (features @ names.T).argmax(dim=1).cpu() == labels
        for group, members in _groups(labels).items():
            figures[f"{kind}_{group}"] = round(100 * right[members].float().mean().item(), 2)
    if data.pairs:
        coloured = _encode_all(encode_plain, device, data.coloured, data.coloured)
        figures["unseen_colours"] = _colour_accuracy(model, tokenizer, coloured, data.pairs)
    return figures


def embed_texts(model: CLIP, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
    """Return text embeddings of names with the "vild" templates: float32 (len(names), E), unit length."""
    device = model.logit_scale.device
    templates = TEMPLATES["vild"]
    rows = tokenizer([template.format(name) for name in names for template in templates])
    features = [encode_tokens(model, batch.to(device)).float() for batch in rows.split(_BATCH)]
    unit = F.normalize(torch.cat(features), dim=-1).unflatten(0, (len(names), len(templates)))
    return F.normalize(unit.mean(dim=1), dim=-1)


def _encode_all(encode: ImageEncoder, device: torch.device, regions: Tensor, masks: Tensor) -> Tensor:
    batches = zip(regions.split(_BATCH), masks.split(_BATCH), strict=True)
    features = [encode(part.to(device), of_part.to(device)).float() for part, of_part in batches]
    return F.normalize(torch.cat(features), dim=-1)


def _groups(labels: Tensor) -> dict[str, Tensor]:
    novel = torch.tensor([name in NOVEL_CLASSES for name in CLASS_NAMES])[labels]
    stuff = labels >= len(NOUNS)
    groups = {"base": ~novel & ~stuff, "novel": novel, "stuff": stuff}
    return {name: members for name, members in groups.items() if members.any()}


def _colour_accuracy(
    model: CLIP, tokenizer: Tokenizer, coloured: Tensor, pairs: Sequence[tuple[str, str]]
) -> float:
    """Return the percentage of features (M, E) to which the right colour of the noun is the most similar."""
    colours = sorted({colour for colour, _ in UNSEEN_PAIRS}, key=COLOURS.index)
    nouns = sorted({noun for _, noun in pairs})
    names = embed_texts(model, tokenizer, [f"{colour} {noun}" for noun in nouns for colour in colours])
    of_noun = names.unflatten(0, (len(nouns), len(colours)))[[nouns.index(noun) for _, noun in pairs]]
    found = torch.einsum("me,mce->mc", coloured, of_noun).argmax(dim=1).tolist()
    right = [colours[index] == colour for index, (colour, _) in zip(found, pairs, strict=True)]
    return round(100 * float(np.mean(right)), 2)


def _scene_regions(seed: int, size: int) -> list[tuple[Tensor, Tensor, int]]:
    """Return the masked region, mask and label of every large enough object and stuff class in a scene."""
    scene = render_scene(seed, "validation", _SCENE_SIZE)
    regions = []
    for mask, name in segments(scene):
        if mask.sum() >= _SMALLEST_REGION:
            region, inside = cut_region(scene.image, mask, tight_boxes(mask[None])[0], size)
            regions.append((region, inside, CLASS_NAMES.index(name)))
    return regions


def _to_pixels(crops: Sequence[Crop], size: int) -> Tensor:
    images = [torch.from_numpy(crop.image) for crop in crops]
    return normalise(torch.stack(images)) if images else torch.empty(0, 3, size, size)
