"""Sticker World: endless synthetic scenes with perfect labels and captions, all from seeds."""

from ovseg_demo.sticker_world.captions import object_caption, stuff_caption
from ovseg_demo.sticker_world.classes import (
    BASE_CLASSES,
    CLASS_NAMES,
    COLOURS,
    NOVEL_CLASSES,
    SPLITS,
    UNSEEN_PAIRS,
    colours_of,
)
from ovseg_demo.sticker_world.crops import Crop, render_crop
from ovseg_demo.sticker_world.nouns import NOUNS, Noun
from ovseg_demo.sticker_world.scenes import BENCHMARK_SEEDS, Scene, SceneObject, render_scene
from ovseg_demo.sticker_world.stuff import STUFF, Stuff

__all__ = [
    "BASE_CLASSES",
    "BENCHMARK_SEEDS",
    "CLASS_NAMES",
    "COLOURS",
    "NOUNS",
    "NOVEL_CLASSES",
    "SPLITS",
    "STUFF",
    "UNSEEN_PAIRS",
    "Crop",
    "Noun",
    "Scene",
    "SceneObject",
    "Stuff",
    "colours_of",
    "object_caption",
    "render_crop",
    "render_scene",
    "stuff_caption",
]
