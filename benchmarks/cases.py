"""Inputs of several benchmarks: images, masks, and networks of published size with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import clip_state
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.proposals.types import Proposals, tight_boxes
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.segmenter import Segmenter

PROMPT_DEPTH = 3
"""D, the number of layers with mask prompts in the published models."""


def random_image(height: int, width: int) -> np.ndarray:
    """Return an image of smooth random colours: uint8 RGB (height, width, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def random_proposals(
    count: int, working_size: tuple[int, int], image_size: tuple[int, int] | None = None, kind: str = "sam"
) -> Proposals:
    """Return different masks of one image: rotated ellipses of many sizes and shapes."""
    height, width = working_size
    rng = np.random.default_rng(0)
    packed, boxes = [], []
    for _ in range(count):  # one at a time, because benchmarks also measure the peak of memory
        mask = np.zeros((height, width), dtype=np.uint8)
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = tuple(int(axis) for axis in rng.uniform(0.03, 0.25, 2) * width)
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1, thickness=-1)
        packed.append(np.packbits(mask, axis=-1))
        boxes.append(tight_boxes(mask[None])[0])
    scores, image = np.ones(count, dtype=np.float32), random_image(height, width)
    return Proposals(np.stack(packed), np.stack(boxes), scores, image, image_size or working_size, kind)


def first(proposals: Proposals, count: int) -> Proposals:
    """Return the first ``count`` proposals."""
    parts = {name: getattr(proposals, name)[:count] for name in ("packed_masks", "boxes", "scores")}
    return replace(proposals, **parts)


def random_clip(
    name: str = "ViT-L-14", image_layers: int | None = None, text_layers: int | None = None
) -> dict[str, Tensor]:
    """Return the tensors of a CLIP of published size, with seeded random weights and mask prompts.

    Args:
        name: one of open_clip's configurations.
        image_layers: the number of blocks of the image tower; ``None`` means the configuration's.
        text_layers: the number of blocks of the text tower; ``None`` means the configuration's.
    """
    config = open_clip.get_model_config(name)
    for tower, layers in (("vision_cfg", image_layers), ("text_cfg", text_layers)):
        config[tower]["layers"] = layers or config[tower]["layers"]
    torch.manual_seed(0)
    model = CLIP(**config, quick_gelu=True)
    patches, width = model.visual.positional_embedding[1:].shape
    return clip_state(model, torch.randn(PROMPT_DEPTH, patches, width))


@dataclass
class GivenProposals:
    """A proposal generator that returns given proposals."""

    proposals: Proposals
    name: str = "sam"
    settings: tuple = ()

    def __call__(self, image: np.ndarray, *, progress: ProgressCallback = no_progress) -> Proposals:
        """Return the given proposals for any image."""
        return self.proposals


def shallow_segmenter(proposals: Proposals, device: str = "cpu") -> Segmenter:
    """Return a segmenter with ViT-L/14's widths, whose towers have one block.

    The work after the towers takes as long as with all blocks.
    """
    clip = MaskAdaptedClip.from_tensors(
        random_clip(image_layers=1, text_layers=1), runtime=Runtime.resolve(device)
    )
    return Segmenter({"sam": LazyModel(lambda: GivenProposals(proposals))}, LazyModel(lambda: clip))
