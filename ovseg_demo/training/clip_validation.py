"""How well a CLIP names what it sees: regions of fresh scenes, and colours that it never saw on a noun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.regions import cut_region
from ovseg_demo.classification.tokenizer import Tokenizer
from ovseg_demo.classification.towers import encode_regions, encode_tokens
from ovseg_demo.proposals import tight_boxes
from ovseg_demo.sticker_world import (
    CLASS_NAMES,
    COLOURS,
    NOUNS,
    NOVEL_CLASSES,
    UNSEEN_PAIRS,
    render_crop,
    render_scene,
)
from ovseg_demo.training.pair_regions import widen
from ovseg_demo.vocabulary import TEMPLATES

FIRST_SEED = 800_000
"""Of the validation scenes that training looks at; none of them is in the benchmark."""

_SCENE_SIZE = (640, 480)
_SMALLEST_REGION = 24 * 24
_BATCH = 256

ImageEncoder = Callable[[Tensor, Tensor | None], Tensor]
"""From regions (B, 3, S, S) and masks (B, 1, S, S) or ``None`` to features (B, E)."""


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Regions of validation scenes and crops of unseen colour-noun pairs, at CLIP's input size.

    Attributes:
        masked: float32 (N, 3, S, S), as :func:`cut_region` makes them from perfect masks.
        masks: float32 (N, 1, S, S).
        unmasked: float32 (N, 3, S, S), the same places with their surroundings.
        labels: int64 (N,), indices into ``CLASS_NAMES``.
        coloured: float32 (M, 3, S, S), unmasked crops of unseen pairs.
        pairs: M (colour, noun name).
    """

    masked: Tensor
    masks: Tensor
    unmasked: Tensor
    labels: Tensor
    coloured: Tensor
    pairs: tuple[tuple[str, str], ...]


def make_validation_set(
    scenes: int, crops_per_pair: int, size: int, first_seed: int = FIRST_SEED
) -> ValidationSet:
    """Draw the set; the same for the same arguments."""
    regions = [
        region for seed in range(first_seed, first_seed + scenes) for region in _scene_regions(seed, size)
    ]
    masked, masks, unmasked, labels = zip(*regions, strict=True)
    pairs = tuple(pair for pair in sorted(UNSEEN_PAIRS) for _ in range(crops_per_pair))
    coloured = [
        _normalise(render_crop(first_seed + i, "validation", size, noun=noun, colour=colour).image, size)
        for i, (colour, noun) in enumerate(pairs)
    ]
    return ValidationSet(
        masked=torch.stack(masked),
        masks=torch.stack(masks),
        unmasked=torch.stack(unmasked),
        labels=torch.tensor(labels),
        coloured=torch.stack(coloured) if coloured else torch.empty(0, 3, size, size),
        pairs=pairs,
    )


def classification_figures(
    model: CLIP, tokenizer: Tokenizer, data: ValidationSet, encode: ImageEncoder | None = None
) -> dict[str, float]:
    """Top-1 accuracies in per cent among all class names: base nouns, novel nouns and stuff; masked and not.

    Args:
        model: the towers; the text tower embeds the class names with the "vild" templates.
        tokenizer: of the text tower.
        data: what is looked at.
        encode: replaces the image tower on masked regions (mask prompts); by default masks are not read.

    Returns:
        ``masked_base``, ``masked_novel``, ``masked_stuff``, the same ``unmasked_…``, and ``unseen_colours``:
        how often the right colour of an unseen colour-noun pair comes first among the colours for that noun.
    """
    encode = encode or (lambda regions, masks: encode_regions(model, None, regions, None))
    names = embed_texts(model, tokenizer, CLASS_NAMES)
    masked = _encode_all(encode, data.masked, data.masks)
    unmasked = _encode_all(
        lambda regions, masks: encode_regions(model, None, regions, None), data.unmasked, data.masks
    )
    figures = {}
    for kind, features in (("masked", masked), ("unmasked", unmasked)):
        right = (features @ names.T).argmax(dim=1).cpu() == data.labels
        for group, members in _groups(data.labels).items():
            figures[f"{kind}_{group}"] = round(100 * right[members].float().mean().item(), 2)
    figures["unseen_colours"] = _colour_accuracy(model, tokenizer, data)
    return figures


def embed_texts(model: CLIP, tokenizer: Tokenizer, names: Sequence[str]) -> Tensor:
    """Text embeddings of names with the "vild" templates: float32 (len(names), E), unit length."""
    device = model.logit_scale.device
    templates = TEMPLATES["vild"]
    rows = tokenizer([template.format(name) for name in names for template in templates])
    features = [encode_tokens(model, batch.to(device)).float() for batch in rows.split(_BATCH)]
    unit = F.normalize(torch.cat(features), dim=-1).unflatten(0, (len(names), len(templates)))
    return F.normalize(unit.mean(dim=1), dim=-1)


def _encode_all(encode: ImageEncoder, regions: Tensor, masks: Tensor) -> Tensor:
    batches = zip(regions.split(_BATCH), masks.split(_BATCH), strict=True)
    return F.normalize(torch.cat([encode(r, m).float() for r, m in batches]), dim=-1)


def _groups(labels: Tensor) -> dict[str, Tensor]:
    novel = torch.tensor([name in NOVEL_CLASSES for name in CLASS_NAMES])[labels]
    stuff = labels >= len(NOUNS)
    groups = {"base": ~novel & ~stuff, "novel": novel, "stuff": stuff}
    return {name: members for name, members in groups.items() if members.any()}


def _colour_accuracy(model: CLIP, tokenizer: Tokenizer, data: ValidationSet) -> float:
    colours = sorted({colour for colour, _ in UNSEEN_PAIRS}, key=COLOURS.index)
    nouns = sorted({noun for _, noun in data.pairs})
    names = embed_texts(model, tokenizer, [f"{colour} {noun}" for noun in nouns for colour in colours])
    features = F.normalize(
        _encode_all(lambda r, m: encode_regions(model, None, r, None), data.coloured, data.coloured), dim=-1
    )
    by_noun = names.unflatten(0, (len(nouns), len(colours)))
    right = [
        (by_noun[nouns.index(noun)] @ feature).argmax().item() == colours.index(colour)
        for feature, (colour, noun) in zip(features, data.pairs, strict=True)
    ]
    return round(100 * float(np.mean(right)), 2)


def _scene_regions(seed: int, size: int) -> list[tuple[Tensor, Tensor, Tensor, int]]:
    """Masked region, mask, unmasked region and label of every object and stuff class in a scene."""
    scene = render_scene(seed, "validation", _SCENE_SIZE)
    segments = [(scene.instance_map == i, thing.class_index) for i, thing in enumerate(scene.objects)]
    stuff_map = np.where(scene.instance_map < 0, scene.label_map, -1)
    segments += [(stuff_map == i, i) for i in map(CLASS_NAMES.index, scene.stuff)]
    regions = []
    for mask, label in segments:
        if mask.sum() >= _SMALLEST_REGION:
            box = tight_boxes(mask[None])[0]
            region, inside = cut_region(scene.image, mask, box, size)
            wide = widen(box, scene.image.shape[:2])
            context, _ = cut_region(scene.image, np.ones_like(mask), wide, size)
            regions.append((region, inside, context, label))
    return regions


def _normalise(image: np.ndarray, size: int) -> Tensor:
    whole = np.ones(image.shape[:2], dtype=bool)
    return cut_region(image, whole, np.array([0, 0, image.shape[1], image.shape[0]]), size)[0]
