"""``train label-pairs``: mask-noun pairs from perfect labels, to compare with pairs mined from captions.

With ``--sam`` the masks that the generators propose are there, too: a classifier that has only seen perfect
masks does not know the parts and the fringes that proposals have. Each proposal gets the class of one of its
pixels, drawn at random: over many of them a class comes as often as it has pixels, so that the classifier
learns how sure to be of a mask that shows several things. Where masks overlap, label maps add what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ovseg_demo.proposals.types import ProposalGenerator
from ovseg_demo.sticker_world import CLASS_NAMES, Scene, render_scene
from ovseg_demo.training.options import LabelPairsOptions
from ovseg_demo.training.pairs import EveryGenerator, collect_pairs, make_generator, mask_at_image_size
from ovseg_demo.training.pairs_format import MaskNounPair, StickerWorldImages
from ovseg_demo.training.presets import find_settings

_SMALLEST_AREA = 24 * 24


def train(options: LabelPairsOptions) -> Path:
    """Write the pairs of the scenes to a folder; returns the folder. An interrupted run resumes.

    With ``options.sam``, the proposals of Segment Anything and MaskFormer are pairs, too.
    """
    make = partial(make_generator, options) if options.sam else None
    scenes = options.scenes or find_settings(options.preset, "finetuning").label_scenes
    miner = LabelMiner(make, options.seed)
    collect_pairs(miner, NumberedScenes(), scenes, options.folder, options.workers)
    return options.folder


@dataclass(frozen=True)
class NumberedScenes:
    """Scenes of the "segmentation" split, which hold base nouns only, with their seeds."""

    source: StickerWorldImages = StickerWorldImages()  # noqa: RUF009 (frozen)

    def read(self, first: int, stop: int) -> Iterator[tuple[int, Scene]]:
        """The scenes of seeds ``first`` to ``stop`` (exclusive); there is no last one."""
        for seed in range(first, stop):
            yield seed, render_scene(seed, self.source.split, self.source.size)


@dataclass(frozen=True, eq=False)
class LabelMiner:
    """Makes the pairs of a scene from its labels.

    Attributes:
        make_generator: of proposals; ``None``: perfect masks alone.
        seed: of the pixels that name proposals.
    """

    make_generator: Callable[[], ProposalGenerator | EveryGenerator] | None = None
    seed: int = 0

    @cached_property
    def generator(self) -> ProposalGenerator | EveryGenerator | None:
        """Made when it is first needed, in the process that needs it: a GPU cannot be shared by forking."""
        return self.make_generator() if self.make_generator else None

    def mine(self, numbered: tuple[int, Scene]) -> list[MaskNounPair]:
        """A pair for every segment that is large enough to see, and for every proposal."""
        number, scene = numbered
        pairs = [
            MaskNounPair.from_mask(str(number), noun, 1.0, mask)
            for mask, noun in segments(scene)
            if mask.sum() >= _SMALLEST_AREA
        ]
        return pairs + list(self._proposed(number, scene))

    def _proposed(self, number: int, scene: Scene) -> Iterator[MaskNounPair]:
        """The proposals, each with the class of a random pixel, and as the score that class's share of it."""
        if self.generator is None:
            return
        rng = np.random.default_rng([self.seed, number])
        proposals = self.generator(scene.image)
        for index in range(len(proposals)):
            mask = mask_at_image_size(proposals, index)
            classes = scene.label_map[mask]
            if (classes := classes[classes >= 0]).size:
                drawn = rng.choice(classes)
                share = np.mean(classes == drawn)
                yield MaskNounPair.from_mask(str(number), CLASS_NAMES[drawn], share, mask)


def segments(scene: Scene) -> list[tuple[np.ndarray, str]]:
    """The bool mask (H, W) and the class name of every object and every stuff class of a scene."""
    objects = [(scene.instance_map == i, thing.noun) for i, thing in enumerate(scene.objects)]
    stuff_map = np.where(scene.instance_map < 0, scene.label_map, -1)
    return objects + [(stuff_map == CLASS_NAMES.index(name), name) for name in scene.stuff]
