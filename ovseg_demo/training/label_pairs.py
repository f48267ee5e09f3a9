"""The stage "label-pairs": mask-noun pairs from perfect labels, to compare with pairs from captions.

With ``--sam`` the generators' proposals are pairs, too: a classifier that is trained on perfect masks alone
does not learn masks of parts, or masks with fringes. Each proposal gets the class of a random pixel. Over
many proposals a class is as frequent as its pixels, so the classifier learns calibrated probabilities for
masks of several classes; label maps add them where masks overlap.
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
    choices = options.choices(maskformer=options.proposer if options.sam else None)
    collect_pairs(miner, NumberedScenes(), scenes, options.folder, options.workers, choices)
    return options.folder


@dataclass(frozen=True)
class NumberedScenes:
    """Scenes of the "segmentation" split, which contain base nouns only, with their seeds."""

    source: StickerWorldImages = StickerWorldImages()  # noqa: RUF009 (frozen)

    def read(self, first: int, stop: int) -> Iterator[tuple[int, Scene]]:
        """Yield seed and scene of the seeds ``first`` to ``stop`` (exclusive); their number is unlimited."""
        for seed in range(first, stop):
            yield seed, render_scene(seed, self.source.split, self.source.size)


@dataclass(frozen=True, eq=False)
class LabelMiner:
    """Makes the pairs of a scene from its labels.

    Attributes:
        make_generator: makes the proposal generator; ``None``: perfect masks alone.
        seed: of the random pixels.
    """

    make_generator: Callable[[], ProposalGenerator | EveryGenerator] | None = None
    seed: int = 0

    @cached_property
    def generator(self) -> ProposalGenerator | EveryGenerator | None:
        """The generator, made on first use in the process that uses it: a GPU cannot be used after a fork."""
        return self.make_generator() if self.make_generator else None

    def mine(self, numbered: tuple[int, Scene]) -> list[MaskNounPair]:
        """Return a pair for every segment of at least 24×24 pixels, and for every proposal."""
        number, scene = numbered
        pairs = [
            MaskNounPair.from_mask(str(number), noun, 1.0, mask)
            for mask, noun in segments(scene)
            if mask.sum() >= _SMALLEST_AREA
        ]
        return pairs + list(self._proposed(number, scene))

    def _proposed(self, number: int, scene: Scene) -> Iterator[MaskNounPair]:
        """Yield the proposals, each with the class of a random pixel; the score is its share of the mask."""
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
    """Return the bool mask (H, W) and the class name of every object and every stuff class of a scene."""
    objects = [(scene.instance_map == i, thing.noun) for i, thing in enumerate(scene.objects)]
    stuff_map = np.where(scene.instance_map < 0, scene.label_map, -1)
    return objects + [(stuff_map == CLASS_NAMES.index(name), name) for name in scene.stuff]
