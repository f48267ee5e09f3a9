"""Images with captions for the stage "pairs": Sticker World, and COCO Captions in its official layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.datasets import find_folder
from ovseg_demo.sticker_world import render_scene
from ovseg_demo.training.pairs_format import FolderImages, ImageSource, StickerWorldImages

_CAPTIONS_FILE = "annotations/captions_train2017.json"
_IMAGE_FOLDERS = ("images", ".")
_PART = "train2017"


class CaptionedImage(NamedTuple):
    """One image.

    Attributes:
        name: its name in the source.
        image: uint8 RGB (H, W, 3).
        captions: in plain English.
    """

    name: str
    image: np.ndarray
    captions: tuple[str, ...]


class CaptionedImages(Protocol):
    """A source of images and captions.

    Attributes:
        source: its description in the pairs' folder.
    """

    source: ImageSource

    def read(self, first: int, stop: int) -> Iterator[CaptionedImage]:
        """Yield the images number ``first`` to ``stop`` (exclusive), or to the last one."""


@dataclass(frozen=True)
class CaptionedScenes:
    """Scenes of the "segmentation" split, which contain base nouns only."""

    source: StickerWorldImages = StickerWorldImages()  # noqa: RUF009 (frozen)

    def read(self, first: int, stop: int) -> Iterator[CaptionedImage]:
        """See :class:`CaptionedImages`; the number of scenes is unlimited."""
        for seed in range(first, stop):
            scene = render_scene(seed, self.source.split, self.source.size)
            yield CaptionedImage(str(seed), scene.image, (scene.caption,))


@dataclass(frozen=True)
class CocoCaptions:
    """COCO Captions, its training part.

    Attributes:
        root: folder with ``annotations/captions_train2017.json`` and ``images/train2017`` or ``train2017``.
        captions_per_image: number of captions to use of the five.
    """

    root: Path
    captions_per_image: int = 1

    @cached_property
    def source(self) -> FolderImages:
        """The folder of the images."""
        return FolderImages((find_folder(self.root, _IMAGE_FOLDERS, _PART) / _PART).resolve())

    def read(self, first: int, stop: int) -> Iterator[CaptionedImage]:
        """See :class:`CaptionedImages`."""
        for name, captions in self._entries[first:stop]:
            yield CaptionedImage(name, self.source.load(name), captions)

    @cached_property
    def _entries(self) -> list[tuple[str, tuple[str, ...]]]:
        """File names and captions, in the order of the image ids."""
        path = self.root / _CAPTIONS_FILE
        if not path.is_file():
            raise DatasetError(f'"{path}" is missing; unpack COCO Captions, and name its folder with --root.')
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            names = {image["id"]: image["file_name"] for image in content["images"]}
            captions: dict[int, list[str]] = {number: [] for number in sorted(names)}
            for annotation in sorted(content["annotations"], key=lambda entry: entry["id"]):
                captions[annotation["image_id"]].append(annotation["caption"])
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f'"{path}" is no file of COCO Captions ({error!r}); unpack it again.'
            ) from error
        few = self.captions_per_image
        return [(names[number], tuple(found[:few])) for number, found in captions.items() if found]


def open_captioned_images(root: Path | None, captions_per_image: int) -> CaptionedImages:
    """Return COCO Captions in a folder, or Sticker World if there is none."""
    return CaptionedScenes() if root is None else CocoCaptions(Path(root), captions_per_image)
