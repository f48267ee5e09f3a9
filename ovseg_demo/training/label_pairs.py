"""``train label-pairs``: mask-noun pairs from perfect labels, to compare with pairs mined from captions.

With ``--pairs`` the masks of mined pairs are there, too, each with the class of what it covers: a classifier
that has only seen perfect masks does not know the parts and the fringes that proposals have.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from ovseg_demo.sticker_world import CLASS_NAMES, Scene, render_scene
from ovseg_demo.training.options import TrainOptions
from ovseg_demo.training.pairs_format import (
    PAIRS_FILE,
    MaskNounPair,
    StickerWorldImages,
    append_pairs,
    read_pairs,
    write_source,
)
from ovseg_demo.training.presets import find_settings

_SMALLEST_AREA = 24 * 24
_LEAST_OVERLAP = 0.5
"""IoU with an object or a stuff class from which on a mask shows that one."""


def train(options: TrainOptions) -> Path:
    """Write the pairs of the preset's scenes; returns their folder."""
    folder, source = options.folder("label-pairs"), StickerWorldImages()
    write_source(folder, source)
    (folder / PAIRS_FILE).unlink(missing_ok=True)
    for seed in range(options.steps or find_settings(options.preset, "finetuning").label_scenes):
        append_pairs(folder, label_pairs(str(seed), render_scene(seed, source.split, source.size)))
    if options.pairs:
        append_pairs(folder, relabel(read_pairs(options.pairs), source))
    return folder


def label_pairs(image: str, scene: Scene) -> list[MaskNounPair]:
    """A pair for every object and every stuff class of a scene that is large enough to see."""
    return [
        MaskNounPair.from_mask(image, noun, 1.0, mask)
        for mask, noun in segments(scene)
        if mask.sum() >= _SMALLEST_AREA
    ]


def relabel(pairs: list[MaskNounPair], source: StickerWorldImages) -> Iterator[MaskNounPair]:
    """The masks of mined pairs with the true nouns; masks that fit nothing are left out."""

    @lru_cache(maxsize=1)  # pairs of one image lie side by side
    def truth(image: str) -> list[tuple[np.ndarray, str]]:
        return segments(render_scene(int(image), source.split, source.size))

    for pair in pairs:
        mask = pair.decode_mask()
        overlaps = [((mask & other).sum() / (mask | other).sum(), noun) for other, noun in truth(pair.image)]
        overlap, noun = max(overlaps)
        if overlap >= _LEAST_OVERLAP:
            yield MaskNounPair(pair.image, noun, round(float(overlap), 4), pair.mask)


def segments(scene: Scene) -> list[tuple[np.ndarray, str]]:
    """The bool mask (H, W) and the class name of every object and every stuff class of a scene."""
    objects = [(scene.instance_map == i, thing.noun) for i, thing in enumerate(scene.objects)]
    stuff_map = np.where(scene.instance_map < 0, scene.label_map, -1)
    return objects + [(stuff_map == CLASS_NAMES.index(name), name) for name in scene.stuff]
