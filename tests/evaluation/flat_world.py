"""A world of flat colours, and a model that knows it perfectly or makes known mistakes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ovseg_demo.classification.types import LOGIT_SCALE, RegionEmbeddings
from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.segmenter import Segmenter
from ovseg_demo.vocabulary import ClassName, Vocabulary

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
NAMES = tuple(COLOURS)
PALETTE = np.array(list(COLOURS.values()), np.uint8)


class ColourGenerator:
    """Proposes one mask for each colour that is there."""

    name = "sam"
    settings = ("colours",)

    def __call__(self, image, *, progress=None):
        masks = [mask for colour in PALETTE if (mask := (image == colour).all(axis=-1)).any()]
        masks = np.array(masks).reshape(-1, *image.shape[:2])
        return Proposals.from_masks(masks, np.ones(len(masks)), image, image.shape[:2], self.name)


class ColourClip:
    """Names a region by its most frequent colour; ``mistakes`` maps names to what it says instead."""

    has_mask_prompts = has_learned_prompts = False
    width = len(NAMES)

    def __init__(self, mistakes=None):
        self.logit_scale = LOGIT_SCALE
        self.fingerprint = str(mistakes)
        self._mistakes = mistakes or {}

    def obstacles(self, names, templates):
        return {}

    def text_key(self, templates):
        return f"{self.fingerprint} {templates}"

    def embed_names(self, names, templates, *, progress=None):
        return np.array([np.eye(len(NAMES))[NAMES.index(name)] for name in names], np.float32)

    def embed_regions(self, proposals, *, mask_prompts=True, progress=None, on_regions=None):
        embeddings = np.zeros((len(proposals), len(NAMES)), np.float32)
        for embedding, mask in zip(embeddings, proposals.masks, strict=True):
            pixels = proposals.working_image[mask]
            counts = (pixels[:, None] == PALETTE).all(axis=-1).sum(axis=0)
            said = NAMES[counts.argmax()]
            embedding[NAMES.index(self._mistakes.get(said, said))] = 1
        return RegionEmbeddings(embeddings)


def flat_segmenter(mistakes=None, key="flat"):
    generators = {"sam": LazyModel(ColourGenerator, key)}
    return Segmenter(generators, LazyModel(lambda: ColourClip(mistakes), key))


@dataclass(eq=False)
class FlatWorld:
    """Images of flat patches; "blue" is novel, and the first column does not count."""

    count: int = 4
    loaded: list = field(default_factory=list)
    name = "flat"
    novel_classes = (2,)
    vocabulary = Vocabulary(tuple(ClassName(name) for name in NAMES))

    @property
    def keys(self):
        return tuple(f"image-{i}" for i in range(self.count))

    def load(self, key):
        self.loaded.append(key)
        patches = np.random.default_rng(int(key[-1])).integers(0, 3, (4, 5))
        labels = patches.repeat(12, axis=0).repeat(12, axis=1).astype(np.int32)
        image = PALETTE[labels]
        labels[:, 0] = -1
        return LabelledImage.from_labels(image, labels)
