"""Sizes and hyper-parameters of every step, on one page.

``sticker-world`` makes the bundled model on a small machine, ``coco`` holds the published hyper-parameters,
and ``toy`` runs in seconds for the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_demo.errors import ModelError
from ovseg_demo.training.loop import LoopSettings


@dataclass(frozen=True)
class ClipSize:
    """A CLIP of open_clip's architecture; heads are 64 wide."""

    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 192
    vision_layers: int = 6
    text_width: int = 128
    text_layers: int = 3
    vocabulary: int = 8192
    context_length: int = 77
    embed_dim: int = 128


@dataclass(frozen=True)
class ClipPretraining:
    """Step 1.

    Attributes:
        size: architecture.
        loop: schedule and batch.
        learning_rate: at the peak.
        weight_decay: of matrices.
        crops: different pictures; each is drawn once, kept on disk and seen in many augmentations.
        word_loss: weight of the auxiliary loss that predicts the caption's words from the image embedding.
        validation_crops: fresh crops for the figures.
    """

    size: ClipSize
    loop: LoopSettings
    learning_rate: float
    weight_decay: float
    crops: int
    word_loss: float = 1.0
    validation_crops: int = 2000


@dataclass(frozen=True)
class Preset:
    """All steps of the pipeline at one size."""

    clip: ClipPretraining


PRESETS = {
    "sticker-world": Preset(
        clip=ClipPretraining(
            size=ClipSize(),
            loop=LoopSettings(steps=8000, batch_size=256, warmup_steps=200, workers=2, evaluate_every=500),
            learning_rate=1e-3,
            weight_decay=0.05,
            crops=200_000,
        ),
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in PRESETS:
        raise ModelError(f'There is no training preset "{name}"; choose one of {", ".join(PRESETS)}.')
    return PRESETS[name]
