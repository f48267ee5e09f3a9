"""Cut-and-paste scenes: labelled things of some photographs on another one (Dwibedi et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ovseg_demo.training.photos.sources import Region

BACKGROUND_SIDE = 512
"""Longer side in pixels of a scene."""

_SMALLEST = 1600
"""Pixels of a thing under which it is not worth cutting out."""


class Donor(Protocol):
    """An image with labelled things; ``source`` tells how its regions belong together."""

    source: str

    def image(self) -> np.ndarray:
        """Return the pixels: RGB uint8 (H, W, 3)."""

    def regions(self) -> list[Region]:
        """Return the image's labelled regions."""


@dataclass(frozen=True, eq=False)
class PastedScene:
    """A scene.

    Attributes:
        image: RGB uint8 (H, W, 3).
        masks: bool (H, W) each, what can be seen of every pasted thing, and of its labelled parts.
        partition: int32 (H, W), number of the thing; -1 on the background.
    """

    image: np.ndarray
    masks: list[np.ndarray]
    partition: np.ndarray


def paste_cutouts(background: np.ndarray, donors: Sequence[Donor], rng: np.random.Generator) -> PastedScene:
    """Paste a thing or two of every donor on a background, each over those before it."""
    scale = BACKGROUND_SIDE / max(background.shape[:2])
    image = cv2.resize(background, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    layers: list[np.ndarray] = []  # bool, things and parts as placed
    owners: list[int] = []  # the thing that each layer belongs to
    partition = np.full((height, width), -1, np.int32)
    things = 0
    for donor in donors:
        regions = [region.mask for region in donor.regions()]
        if donor.source == "ccp" and regions:
            candidates = [(np.logical_or.reduce(regions), regions)]
        else:
            candidates = [(mask, []) for mask in regions if np.count_nonzero(mask) >= _SMALLEST]
        rng.shuffle(candidates)
        pixels = donor.image()
        for mask, parts in candidates[: rng.integers(1, 3)]:
            placed = _place(pixels, [mask, *parts], (height, width), rng)
            if placed is None:
                continue
            colours, alpha, masks = placed
            image = (image * (1 - alpha[..., None]) + colours * alpha[..., None]).astype(np.uint8)
            partition[masks[0]] = things
            layers += [masks[0], *masks[1:]]
            owners += [things] * len(masks)
            things += 1
    visible = [layer & (partition == owner) for layer, owner in zip(layers, owners, strict=True)]
    return PastedScene(image, [mask for mask in visible if mask.any()], partition)


def _place(
    pixels: np.ndarray, masks: list[np.ndarray], size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]] | None:
    """Put a thing at a random place and size; return its pixels and alpha on the whole scene, and its masks.

    Pixels are uint8 (H, W, 3), alpha is float32 (H, W) from 0 to 1, and masks are bool (H, W). ``None``
    stands for a thing of which fewer than 200 pixels are in the scene.
    """
    rows, columns = np.nonzero(masks[0])
    top, left = rows.min(), columns.min()
    extent = np.array([rows.max() + 1 - top, columns.max() + 1 - left])
    wanted = np.exp(rng.uniform(np.log(0.12), np.log(0.75))) * min(size)
    scale = min(wanted / extent.max(), 2.0)
    centre = np.array([rng.uniform(0.1, 0.9) * size[0], rng.uniform(0.1, 0.9) * size[1]])
    shift = centre - (np.array([top, left]) + extent / 2) * scale
    flip = -1.0 if rng.random() < 0.5 else 1.0
    middle = (left + extent[1] / 2) * scale + shift[1]
    matrix = np.array(
        [[flip * scale, 0, (shift[1] if flip > 0 else 2 * middle - shift[1])], [0, scale, shift[0]]]
    )
    target = size[::-1]
    colours = cv2.warpAffine(pixels, matrix, target, flags=cv2.INTER_LINEAR)
    placed = [cv2.warpAffine(mask.astype(np.float32), matrix, target) for mask in masks]
    alpha = cv2.GaussianBlur(placed[0], (3, 3), 0)
    found = [layer > 0.5 for layer in placed]
    return (colours, alpha, found) if np.count_nonzero(found[0]) >= 200 else None


def paste_stamps(
    background: np.ndarray, stamps: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Paste up to four RGBA images on a background, one into each quarter.

    Returns:
        The scene, RGB uint8 (H, W, 3), and what can be seen of each stamp: bool (H, W).
    """
    scale = BACKGROUND_SIDE / max(background.shape[:2])
    image = cv2.resize(background, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    height, width = image.shape[:2]
    masks: list[np.ndarray] = []
    for quarter, stamp in enumerate(stamps):
        room = rng.uniform(0.6, 0.95) * np.array([height / 2 / stamp.shape[0], width / 2 / stamp.shape[1]])
        factor = room.min()
        size = (max(1, int(stamp.shape[1] * factor)), max(1, int(stamp.shape[0] * factor)))
        small = cv2.resize(stamp, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        top = int(quarter // 2 * height / 2 + rng.uniform(0, height / 2 - size[1]))
        left = int(quarter % 2 * width / 2 + rng.uniform(0, width / 2 - size[0]))
        place = np.s_[top : top + size[1], left : left + size[0]]
        alpha = small[..., 3:] / 255.0
        image[place] = (image[place] * (1 - alpha) + small[..., :3] * alpha).astype(np.uint8)
        mask = np.zeros((height, width), bool)
        mask[place] = small[..., 3] > 127
        masks.append(mask)
    return image, masks
