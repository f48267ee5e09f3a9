"""The file format of mask-noun pairs, which "pairs" and "label-pairs" write and "finetune" reads.

A folder with

- ``source.json``: where the images are,
  ``{"kind": "sticker-world", "split": "segmentation", "size": [640, 480]}`` or
  ``{"kind": "folder", "root": "…"}`` (a relative root starts at the folder itself);
- ``pairs.jsonl``: one pair a line,
  ``{"image": "7", "noun": "red car", "score": 0.8, "mask": {"size": [h, w], "counts": "…"}}``:
  the seed or the file name of an image, the noun, how well they matched, and the mask at the image's size in
  COCO's run-length encoding. Pairs of one image lie side by side;
- ``progress.json``, where a stage made the folder: whether all its pairs are there, and what they are of,
  ``{"images": 7, "finished": true, "bytes": 1234, "source": {…}, "choices": {…}}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from pycocotools import mask as coco_mask

from ovseg_demo.errors import DatasetError
from ovseg_demo.images import load_image
from ovseg_demo.sticker_world import render_scene

SOURCE_FILE = "source.json"
PAIRS_FILE = "pairs.jsonl"
PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class MaskNounPair:
    """A mask of an image and the noun that names it.

    Attributes:
        image: seed or file name, the argument of :meth:`ImageSource.load`.
        noun: noun phrase of the caption, with or without a colour.
        score: of the match; 1 for ground truth.
        mask: COCO's compressed run-length encoding at the image's size, ``{"size": [h, w], "counts": str}``.
    """

    image: str
    noun: str
    score: float
    mask: dict

    @classmethod
    def from_mask(cls, image: str, noun: str, score: float, mask: np.ndarray) -> MaskNounPair:
        """Encode a bool mask (h, w)."""
        encoded = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        size = [int(side) for side in encoded["size"]]
        return cls(image, noun, round(float(score), 4), {"size": size, "counts": encoded["counts"].decode()})

    def decode_mask(self) -> np.ndarray:
        """Return the bool mask (h, w)."""
        return coco_mask.decode(self.mask).astype(bool)


class ImageSource(Protocol):
    """The images of pairs."""

    def describe(self) -> dict:
        """Return the content of ``source.json``."""

    def load(self, image: str) -> np.ndarray:
        """Return the image of that name: uint8 RGB (H, W, 3)."""


@dataclass(frozen=True)
class StickerWorldImages:
    """Scenes of Sticker World; an image's name is its seed."""

    split: str = "segmentation"
    size: tuple[int, int] = (640, 480)

    def describe(self) -> dict:
        """Return the content of ``source.json``."""
        return {"kind": "sticker-world", "split": self.split, "size": list(self.size)}

    def load(self, image: str) -> np.ndarray:
        """Render the scene of that seed.

        Raises:
            DatasetError: Sticker World has no such scene.
        """
        try:
            return render_scene(int(image), self.split, self.size).image
        except ValueError as error:
            raise DatasetError(f'The scene "{image}" of these pairs cannot be drawn: {error}') from error


@dataclass(frozen=True)
class FolderImages:
    """Image files below a folder, such as COCO's ``train2017``; an image's name is its relative path."""

    root: Path

    def describe(self) -> dict:
        """Return the content of ``source.json``."""
        return {"kind": "folder", "root": str(self.root)}

    def load(self, image: str) -> np.ndarray:
        """Read the file."""
        return load_image(self.root / image)


def open_source(folder: Path) -> ImageSource:
    """Return the images of a folder of pairs.

    Raises:
        DatasetError: the folder holds no pairs.
    """
    path = Path(folder) / SOURCE_FILE
    if not path.exists():
        raise DatasetError(
            f"{folder} holds no mask-noun pairs; make them with `train pairs`, or give --pairs."
        )
    entry = json.loads(path.read_text())
    if entry["kind"] == "sticker-world":
        return StickerWorldImages(entry["split"], tuple(entry["size"]))
    return FolderImages(Path(folder) / entry["root"])


def write_source(folder: Path, source: ImageSource) -> None:
    """Make a folder of pairs and write its ``source.json``."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / SOURCE_FILE).write_text(json.dumps(source.describe()) + "\n")


def append_pairs(folder: Path, pairs: Iterable[MaskNounPair]) -> None:
    """Add pairs to a folder; all pairs of one image in one call."""
    lines = [json.dumps(vars(pair)) + "\n" for pair in pairs]
    with (Path(folder) / PAIRS_FILE).open("a") as file:
        file.write("".join(lines))


def read_pairs(folder: Path) -> list[MaskNounPair]:
    """Return all pairs of a folder.

    Raises:
        DatasetError: there are none, or not yet all.
    """
    progress = Path(folder) / PROGRESS_FILE
    saved = json.loads(progress.read_text()) if progress.exists() else {}
    if not saved.get("finished", True):  # folders of older versions do not say it
        raise DatasetError(
            f"{folder} is unfinished, with the pairs of {saved['images']} images; finish it with the command "
            "that began it, which goes on from there."
        )
    path = Path(folder) / PAIRS_FILE
    lines = path.read_text().splitlines() if path.exists() else []
    if not lines:
        raise DatasetError(
            f"{folder} holds no mask-noun pairs; make them with `train pairs`, or give --pairs."
        )
    return [MaskNounPair(**json.loads(line)) for line in lines]
