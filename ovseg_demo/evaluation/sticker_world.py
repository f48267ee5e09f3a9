"""Sticker World as a benchmark: 200 fixed scenes of 640×480 pixels, all nouns and stuff as classes.

The vocabulary has the class names alone, without the synonyms of the captions, like the names that a user
types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.sticker_world import BENCHMARK_SEEDS, CLASS_NAMES, NOUNS, NOVEL_CLASSES, Scene, render_scene
from ovseg_demo.vocabulary import ClassName, Vocabulary

NOVEL = tuple(i for i, name in enumerate(CLASS_NAMES) if name in NOVEL_CLASSES)
STUFF = tuple(range(len(NOUNS), len(CLASS_NAMES)))
BASE_NOUNS = tuple(i for i in range(len(NOUNS)) if i not in NOVEL)
"""Indices of classes."""


@dataclass(frozen=True, eq=False)
class StickerScenes:
    """Validation scenes by their seeds; a :class:`~ovseg_demo.evaluation.datasets.Dataset`.

    Attributes:
        seeds: of the scenes; the benchmark's by default.
        size: (width, height) in pixels.
    """

    seeds: tuple[int, ...] = BENCHMARK_SEEDS
    size: tuple[int, int] = (640, 480)

    name = "sticker-world"
    novel_classes = NOVEL
    vocabulary = Vocabulary(tuple(ClassName(name) for name in CLASS_NAMES))

    @classmethod
    def from_seed(cls, first: int, count: int) -> StickerScenes:
        """Return ``count`` scenes with consecutive seeds from ``first`` on."""
        return cls(tuple(range(first, first + count)))

    @property
    def keys(self) -> tuple[str, ...]:
        """The seeds as texts."""
        return tuple(str(seed) for seed in self.seeds)

    def load(self, key: str) -> LabelledImage:
        """Render a scene; its segments are its objects, and each stuff class as a whole."""
        return label_scene(render_scene(int(key), "validation", self.size))


def label_scene(scene: Scene) -> LabelledImage:
    """Return a scene with its ground truth."""
    object_count = len(scene.objects)
    stuff = [CLASS_NAMES.index(name) for name in scene.stuff]
    segments = scene.instance_map.copy()
    for number, index in enumerate(stuff, start=object_count):
        segments[scene.label_map == index] = number
    classes = [*(thing.class_index for thing in scene.objects), *stuff]
    return LabelledImage(scene.image, scene.label_map.astype(np.int32), segments, np.array(classes, np.int32))


def is_thing(classes: Iterable[int]) -> np.ndarray:
    """Return which of the classes are nouns: bool (n,)."""
    return np.fromiter(classes, dtype=np.int64) < len(NOUNS)
