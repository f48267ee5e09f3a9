"""A made-up folder in COCO's official layout: three small images, their stuff-thing maps and captions."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = (
    "A man riding a red bicycle on a road.",
    "Two dogs sitting on the grass.",
    "A cup of coffee on a wooden table.",
)


def make_coco_folder(root: Path, part: str = "train2017", labels: str = "annotations/stuffthingmaps") -> Path:
    """Images of 96×80 pixels: person (id 1), grass (id 124) and unlabelled pixels in each."""
    images, maps = root / "images" / part, root / labels / part
    for folder in (images, maps, root / "annotations"):
        folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(len(CAPTIONS)):
        name = f"{number:012d}"
        image = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(image).save(images / f"{name}.jpg")
        values = np.full((80, 96), 124 - 1, dtype=np.uint8)
        values[10:60, 20:50] = 1 - 1
        values[:5] = 255
        Image.fromarray(values).save(maps / f"{name}.png")
    captions = {
        "images": [
            {"id": number, "file_name": f"{number:012d}.jpg"} for number in reversed(range(len(CAPTIONS)))
        ],
        "annotations": [
            {"id": 10 * number + turn, "image_id": number, "caption": text}
            for number, caption in enumerate(CAPTIONS)
            for turn, text in enumerate((caption, f"There is a cat near: {caption}"))
        ],
    }
    (root / "annotations" / f"captions_{part}.json").write_text(json.dumps(captions))
    return root
