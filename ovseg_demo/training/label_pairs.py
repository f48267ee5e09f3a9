"""``train label-pairs``: mask-noun pairs from perfect labels, to compare with pairs mined from captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovseg_demo.sticker_world import CLASS_NAMES, Scene, render_scene
from ovseg_demo.training.options import TrainOptions
from ovseg_demo.training.pairs_format import (
    PAIRS_FILE,
    MaskNounPair,
    StickerWorldImages,
    append_pairs,
    write_source,
)
from ovseg_demo.training.presets import find_settings

_SMALLEST_AREA = 24 * 24


def train(options: TrainOptions) -> Path:
    """Write the pairs of the preset's scenes; returns their folder."""
    folder, source = options.folder("label-pairs"), StickerWorldImages()
    write_source(folder, source)
    (folder / PAIRS_FILE).unlink(missing_ok=True)
    for seed in range(options.steps or find_settings(options.preset, "finetuning").label_scenes):
        append_pairs(folder, label_pairs(str(seed), render_scene(seed, source.split, source.size)))
    return folder


def label_pairs(image: str, scene: Scene) -> list[MaskNounPair]:
    """A pair for every object and every stuff class of a scene that is large enough to see."""
    return [
        MaskNounPair.from_mask(image, noun, 1.0, mask)
        for mask, noun in segments(scene)
        if mask.sum() >= _SMALLEST_AREA
    ]


def segments(scene: Scene) -> list[tuple[np.ndarray, str]]:
    """The bool mask (H, W) and the class name of every object and every stuff class of a scene."""
    objects = [(scene.instance_map == i, thing.noun) for i, thing in enumerate(scene.objects)]
    stuff_map = np.where(scene.instance_map < 0, scene.label_map, -1)
    return objects + [(stuff_map == CLASS_NAMES.index(name), name) for name in scene.stuff]
