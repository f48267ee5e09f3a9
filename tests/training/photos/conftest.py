"""A toy folder of labelled photographs in the layout of the real one."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

SIZE = (96, 128)  # height, width


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of COCO, two of each other source."""
    root = tmp_path_factory.mktemp("photographs")
    _write_coco(root / "coco")
    for split in ("train", "val"):
        for number in range(2):
            stem = root / "bsds500" / split / f"{number}"
            _write_image(stem.with_suffix(".jpg"), number)
            for person in range(2):
                _write_labels(stem.with_name(f"{number}.{person}.png"), 2 + person)
            stem = root / "camvid" / split / f"s{number}"
            _write_image(stem.with_suffix(".jpg"), number)
            _write_labels(stem.with_suffix(".png"), 12)
    for number in range(2):
        _write_image(root / "ccp" / f"{number}.jpg", number)
        _write_labels(root / "ccp" / f"{number}.png", 3)
    (root / "ccp" / "labels.json").write_text(json.dumps(["null", "hat", "coat"]))
    for name in ("n02123045_tabby", "n01440764_tench"):
        _write_image(root / "imagenet_sample" / f"{name}.jpg", len(name))
    return root


def _write_coco(folder: Path) -> None:
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "sofa"}]
    square = [16.0, 16.0, 80.0, 16.0, 80.0, 80.0, 16.0, 80.0]
    ids = {"coco128": range(1, 43), "tiny": range(100, 102)}
    for name, numbers in ids.items():
        images = [{"id": i, "file_name": f"{i:012}.jpg", "height": 96, "width": 128} for i in numbers]
        annotations = [
            {"image_id": i, "category_id": 1 + i % 2, "iscrowd": 0, "segmentation": [square], "id": i}
            for i in numbers
        ]
        index = {"images": images, "annotations": annotations, "categories": categories}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"instances_{name}.json").write_text(json.dumps(index))
        for i in numbers:
            _write_image(folder / name / f"{i:012}.jpg", i)
    captions = [{"image_id": 100, "id": 1, "caption": "A cat on a sofa. "}]
    (folder / "captions_tiny.json").write_text(json.dumps({"annotations": captions}))


def _write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    image[16:80, 16:80] //= 4
    cv2.imwrite(str(path), image)


def _write_labels(path: Path, count: int) -> None:
    columns = np.arange(SIZE[1]) * count // SIZE[1]
    cv2.imwrite(str(path), np.broadcast_to(columns, SIZE).astype(np.uint8))
