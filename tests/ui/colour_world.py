"""A world of flat colours, and a model of it that runs in milliseconds and whose maps are predictable.

A mask is a region of one colour. Its class is the name of the nearest colour ("red", "sky blue" …).
Names that are not colours match nothing. The un-adapted classifier mistakes red for blue.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from PIL import Image, ImageColor

from ovseg_demo.classification.suggestions import Candidate
from ovseg_demo.classification.types import LOGIT_SCALE, RegionEmbeddings
from ovseg_demo.progress import (
    EMBEDDING_REGIONS,
    ENCODING_NAMES,
    PROPOSING,
    ProgressCallback,
    RegionsCallback,
    no_progress,
)
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.segmenter import Segmenter

SLOW_COLOUR = (250, 0, 250)
"""An image whose first pixel has this colour takes :data:`SLOW_STEPS` steps of :data:`SLOW_STEP` seconds."""
SLOW_STEPS, SLOW_STEP = 200, 0.05

VEILED_RED = (254, 0, 0)
"""Where the first pixel has this colour, SAM also proposes two masks of everything, which outvote others."""

COLOUR_NAMES = (
    "red", "green", "blue", "yellow", "sky blue", "purple", "orange", "black", "white", "gray", "cyan",
    "magenta", "cat", "dog",
)  # fmt: skip
"""What the model suggests: colours, and two names that it cannot see."""

MOST_COLOURS, MOST_REGIONS = 8, 8
"""Rarer colours, and a colour's smaller regions, make no masks: a camera's image has thousands."""

OWN_POINTS = 16
"""Along each side of the grid at which SAM proposes masks."""

SKY, MEADOW, HOUSE, SUN = (135, 206, 235), (0, 128, 0), (255, 0, 0), (255, 255, 0)


def landscape(width: int = 320, height: int = 240) -> np.ndarray:
    """A sky blue sky, a green meadow, a red house and a yellow sun."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = SKY
    image[height // 2 :] = MEADOW
    image[height // 3 : 3 * height // 4, width // 5 : 2 * width // 5] = HOUSE
    cv2.circle(image, (3 * width // 4, height // 5), height // 8, SUN, -1)
    return image


def stripes(*colours: tuple[int, int, int], width: int = 320, height: int = 240) -> np.ndarray:
    """Upright stripes of equal width."""
    columns = np.arange(width) * len(colours) // width
    return np.repeat(np.array(colours, np.uint8)[columns][None], height, axis=0)


def save_image(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def colour_segmenter(**options: object) -> Segmenter:
    """A segmenter of this world, with both generators (MaskFormer's merges what touches) and classifiers."""
    options["candidates"] = tuple(map(Candidate, options.get("candidates", COLOUR_NAMES)))
    return Segmenter(
        {
            "sam": LazyModel(lambda: _GridGenerator()),
            "maskformer": LazyModel(lambda: _Generator("maskformer")),
        },
        LazyModel(lambda: Classifier("adapted", [0, 1, 2])),
        LazyModel(lambda: Classifier("un-adapted", [2, 1, 0])),
        **options,
    )


class _Generator:
    """MaskFormer: everything of a colour. SAM: every connected region of a colour, up to ``regions``."""

    regions = MOST_REGIONS
    points_per_side: int | None = None

    def __init__(self, name: str):
        self.name = name

    @property
    def settings(self) -> tuple:
        return self.name, self.points_per_side

    def __call__(self, image: np.ndarray, *, progress: ProgressCallback = no_progress) -> Proposals:
        is_slow = tuple(image[0, 0]) == SLOW_COLOUR
        steps = SLOW_STEPS if is_slow else 2
        for step in range(steps + 1):
            progress(PROPOSING, step, steps)
            time.sleep(SLOW_STEP if is_slow else 0)
        codes = image @ np.array([1 << 16, 1 << 8, 1])  # one number a colour
        colours, areas = np.unique(codes, return_counts=True)
        colours = colours[np.sort(np.argsort(-areas, kind="stable")[:MOST_COLOURS])]
        masks = [mask for colour in colours for mask in self._masks(codes == colour)]
        if self.name == "sam" and tuple(image[0, 0]) == VEILED_RED:
            masks += 2 * [np.ones(codes.shape, bool)]
        proposals = Proposals.from_masks(
            np.array(masks), np.ones(len(masks)), image, image.shape[:2], self.name
        )
        return replace(proposals, points_per_side=self.points_per_side)

    def _masks(self, of_colour: np.ndarray) -> list[np.ndarray]:
        if self.name == "maskformer":
            return [of_colour]
        _, regions, facts, _ = cv2.connectedComponentsWithStats(of_colour.view(np.uint8), connectivity=4)
        areas = facts[1:, cv2.CC_STAT_AREA]
        largest = np.sort(np.argsort(-areas, kind="stable")[: self.regions])
        return [regions == index + 1 for index in largest]


class _GridGenerator(_Generator):
    """SAM; more points find more of a colour's small regions."""

    def __init__(self, points_per_side: int = OWN_POINTS):
        super().__init__("sam")
        self.points_per_side = points_per_side
        self.regions = MOST_REGIONS * points_per_side**2 // OWN_POINTS**2

    def with_points(self, points_per_side: int) -> Self:
        return type(self)(points_per_side)

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        return iter(())

    def __call__(
        self,
        image: np.ndarray,
        *,
        progress: ProgressCallback = no_progress,
        embedding: np.ndarray | None = None,
    ) -> Proposals:
        return super().__call__(image, progress=progress)


class Classifier:
    """Colours as directions: the nearest has the highest cosine. ``order`` of the channels it sees."""

    width = 4
    has_mask_prompts = True
    has_learned_prompts = False
    seconds_a_region = 0.0

    def __init__(self, fingerprint: str, order: list[int]):
        self.logit_scale = LOGIT_SCALE
        self.fingerprint = fingerprint
        self._order = order

    def embed_regions(
        self,
        proposals: Proposals,
        *,
        mask_prompts: bool = True,
        progress: ProgressCallback = no_progress,
        on_regions: RegionsCallback | None = None,
    ) -> RegionEmbeddings:
        embeddings = np.zeros((len(proposals), 4), np.float32)
        for done, index in enumerate(np.argsort(-proposals.areas, kind="stable")):
            progress(EMBEDDING_REGIONS, done, len(proposals))
            pixels = proposals.working_image[proposals.unpack(index)]
            embeddings[index] = _direction(pixels.mean(axis=0)[self._order])
            time.sleep(self.seconds_a_region)
            if on_regions is not None:
                on_regions(embeddings.copy())
        return RegionEmbeddings(embeddings)

    def obstacles(self, names: list[str], templates: str) -> dict[str, str]:
        return {name: "unknown to this model" for name in names if not name.isascii()}

    def text_key(self, templates: str) -> str:
        return f"{self.fingerprint} {templates}"

    def embed_names(
        self, names: list[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        progress(ENCODING_NAMES, 0, len(names))
        return np.array([_name_direction(name) for name in names])


def _direction(colour: np.ndarray) -> np.ndarray:
    vector = np.append(np.asarray(colour) / 127.5 - 1, 0.0)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _name_direction(name: str) -> np.ndarray:
    try:
        return _direction(ImageColor.getrgb(name.lower().replace(" ", ""))[:3])
    except ValueError:
        return np.array([0, 0, 0, 1], np.float32)
