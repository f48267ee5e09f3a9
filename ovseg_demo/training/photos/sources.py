"""Readers of labelled photographs: COCO, BSDS500, CamVid, Clothing Co-Parsing, ImageNet's sample.

Layout below the root, as documented in ``docs/how-to/train-on-photographs.md``::

    coco/{coco128,tiny}/*.jpg   coco/instances_{coco128,tiny}.json   coco/captions_tiny.json
    bsds500/{train,val}/ID.jpg, ID.0.png …    camvid/{train,val}/ID.jpg, ID.png
    ccp/ID.jpg, ID.png, labels.json           imagenet_sample/WNID_name.jpg

The validation split is never trained on: the last 40 images of ``coco128`` by name, BSDS500's and CamVid's
``val``. Every reader returns photographs in the order of their names; pixels are read on request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from ovseg_demo.errors import DatasetError

Split = Literal["train", "val"]

COCO_VALIDATION_IMAGES = 40
"""How many images of ``coco128``, the last ones by name, are kept for validation."""

CAMVID_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""CamVid's classes in the order of its labels; 11 is unlabelled."""


@dataclass(frozen=True)
class Region:
    """One labelled region.

    Attributes:
        mask: bool (H, W), at least one pixel of it true.
        name: its class name; empty where the source gives none.
    """

    mask: np.ndarray
    name: str = ""


@dataclass(frozen=True)
class Photograph:
    """An image file and how to read its labels.

    Attributes:
        source: "coco", "bsds500", "camvid", "ccp" or "imagenet".
        path: of the image.
        captions: whole sentences about it.
        name: the class of the whole image (ImageNet), else empty.
        annotations: of COCO; see :meth:`regions`.
        label_names: of CCP and CamVid: names by label.
    """

    source: str
    path: Path
    captions: tuple[str, ...] = ()
    name: str = ""
    annotations: tuple[tuple[str, list[list[float]]], ...] = field(default=(), repr=False)
    label_names: tuple[str, ...] = field(default=(), repr=False)

    def image(self) -> np.ndarray:
        """Read the image: RGB uint8 (H, W, 3)."""
        return read_image(self.path)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image().shape[:2]

    def partitions(self) -> list[np.ndarray]:
        """Return complete segmentations of the image without names: int32 (H, W) each.

        Only BSDS500 has some.
        """
        if self.source != "bsds500":
            return []
        paths = sorted(self.path.parent.glob(f"{self.path.stem}.*.png"))
        return [read_labels(path).astype(np.int32) for path in paths]

    def regions(self) -> list[Region]:
        """Return the named regions: COCO's instances, CamVid's classes, the clothes of CCP.

        Each may be in several parts.
        """
        if self.source == "coco":
            return list(self._coco_regions())
        if self.source in ("camvid", "ccp"):
            labels = read_labels(self.path.with_suffix(".png"))
            return [
                Region(labels == label, name)
                for label, name in enumerate(self.label_names)
                if name and (labels == label).any()
            ]
        return []

    def _coco_regions(self) -> Iterator[Region]:
        height, width = self.size
        for name, polygons in self.annotations:
            mask = np.zeros((height, width), np.uint8)
            corners = [np.round(np.reshape(polygon, (-1, 2)) - 0.5).astype(np.int32) for polygon in polygons]
            for polygon in corners:  # one at a time: together, overlapping parts would cancel out
                cv2.fillPoly(mask, [polygon], 1)
            if mask.any():
                yield Region(mask.astype(bool), name)


def read_coco(root: Path, split: Split) -> list[Photograph]:
    """Return COCO's photographs with instances; crowds are left out."""
    captions: dict[int, list[str]] = {}
    for entry in _read_json(root / "coco" / "captions_tiny.json")["annotations"]:
        captions.setdefault(entry["image_id"], []).append(entry["caption"].strip())
    found: list[Photograph] = []
    for folder in ("coco128", "tiny"):
        index = _read_json(root / "coco" / f"instances_{folder}.json")
        names = {category["id"]: category["name"] for category in index["categories"]}
        annotations: dict[int, list[tuple[str, list[list[float]]]]] = {}
        for entry in index["annotations"]:
            if not entry["iscrowd"]:
                instance = (names[entry["category_id"]], entry["segmentation"])
                annotations.setdefault(entry["image_id"], []).append(instance)
        images = sorted(index["images"], key=lambda entry: entry["file_name"])
        if folder == "coco128":
            validation = images[-COCO_VALIDATION_IMAGES:]
            images = validation if split == "val" else images[:-COCO_VALIDATION_IMAGES]
            kept = {entry["id"] for entry in validation}
        elif split == "val":
            continue
        else:  # the two folders may share photographs
            images = [entry for entry in images if entry["id"] not in kept]
        found += [
            Photograph(
                "coco",
                root / "coco" / folder / Path(entry["file_name"]).name,
                captions=tuple(captions.get(entry["id"], ())),
                annotations=tuple(annotations.get(entry["id"], ())),
            )
            for entry in images
        ]
    return found


def read_coco_names(root: Path) -> list[str]:
    """Return COCO's 80 class names."""
    categories = _read_json(root / "coco" / "instances_coco128.json")["categories"]
    return [category["name"] for category in sorted(categories, key=lambda entry: entry["id"])]


def read_bsds500(root: Path, split: Split) -> list[Photograph]:
    """Return BSDS500's photographs with up to three people's segmentations."""
    return [Photograph("bsds500", path) for path in _jpegs(root / "bsds500" / split)]


def read_named_segments(root: Path, split: Split) -> list[tuple[Photograph, list[Region]]]:
    """Return photographs of BSDS500 with those segments of one person that ``bsds500_names.json`` names.

    The names were given by hand for this project: mostly stuff, such as sky, water or grass.
    """
    path = Path(__file__).with_name("bsds500_names.json")
    found: list[tuple[Photograph, list[Region]]] = []
    for key, names in json.loads(path.read_text())[split].items():
        stem, person = key.split(".")
        photograph = Photograph("bsds500", root / "bsds500" / split / f"{stem}.jpg")
        if photograph.path.exists():
            labels = read_labels(photograph.path.with_name(f"{stem}.{person}.png"))
            regions = [Region(labels == int(label), name) for label, name in names.items()]
            found.append((photograph, [region for region in regions if region.mask.any()]))
    return found


def read_camvid(root: Path, split: Split) -> list[Photograph]:
    """Return CamVid's street scenes."""
    return [Photograph("camvid", path, label_names=CAMVID_NAMES) for path in _jpegs(root / "camvid" / split)]


def read_ccp(root: Path) -> list[Photograph]:
    """Return Clothing Co-Parsing; all of it is for training.

    Label 0 is the background, which has no name.
    """
    names = ("", *_read_json(root / "ccp" / "labels.json")[1:])
    return [Photograph("ccp", path, label_names=names) for path in _jpegs(root / "ccp")]


def read_imagenet_sample(root: Path) -> list[Photograph]:
    """Return one photograph of each of the 1,000 classes, in the classifier's order: by WordNet id."""
    return [
        Photograph("imagenet", path, name=path.stem.partition("_")[2].replace("_", " "))
        for path in _jpegs(root / "imagenet_sample")
    ]


def read_image(path: Path) -> np.ndarray:
    """Read an image file: RGB uint8 (H, W, 3).

    Raises:
        DatasetError: the file is missing or no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path} is missing or no image; check the folder given with --root.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_labels(path: Path) -> np.ndarray:
    """Read a label map as it was written, with 8 or 16 bits: (H, W).

    Raises:
        DatasetError: the file is missing or no image.
    """
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise DatasetError(f"{path} is missing or no image; check the folder given with --root.")
    return labels if labels.ndim == 2 else labels[..., 0]


def _jpegs(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise DatasetError(f"There is no photograph in {folder}; check the folder given with --root.")
    return paths


def _read_json(path: Path) -> dict:
    if not path.exists():
        raise DatasetError(f"{path} is missing; check the folder given with --root.")
    return json.loads(path.read_text())
