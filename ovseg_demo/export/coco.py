"""All that a segmentation says as a COCO data set of one image, which pycocotools can load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.export.run_lengths import class_rles
from ovseg_demo.images import SourceImage
from ovseg_demo.visualization.palette import class_colors, hex_color

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation


def write(segmentation: Segmentation, options: ExportOptions) -> bytes:
    """The record of a segmentation as JSON in UTF-8, with ``options.settings`` in it."""
    record = coco_record(segmentation, settings=options.settings, source=options.source)
    return (json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode("utf-8")


def coco_record(
    segmentation: Segmentation,
    *,
    settings: Mapping[str, Any] | None = None,
    source: SourceImage | None = None,
) -> dict[str, Any]:
    """All that a segmentation says, as a COCO data set of one image.

    Args:
        segmentation: what to record.
        settings: how it was made; anything that JSON can hold. What the segmentation itself knows is added,
            and counts where both name the same setting.
        source: the file that was segmented.

    Returns:
        A dictionary that JSON can hold: "images" with the one image; "categories" with every class, also
        those without a pixel; "annotations" with a mask for each class that has a pixel; "info" with the
        settings.
    """
    height, width = segmentation.label_map.shape
    rles = class_rles(segmentation.label_map, len(segmentation.class_names))
    categories = _categories(segmentation)
    return {
        "info": {
            "description": "Open-vocabulary semantic segmentation",
            "settings": {**(settings or {}), **_known_settings(segmentation)},
        },
        "images": [_image(height, width, source)],
        "categories": categories,
        "annotations": [
            _annotation(category, rle)
            for category, rle in zip(categories, rles, strict=True)
            if category["found"]
        ],
    }


def _image(height: int, width: int, source: SourceImage | None) -> dict[str, Any]:
    name = "label_map.png" if source is None else source.file_name
    image = {"id": 1, "height": height, "width": width, "file_name": name}
    return image if source is None else {**image, "source": asdict(source)}


def _known_settings(segmentation: Segmentation) -> dict[str, Any]:
    return {
        "generator": segmentation.proposals.generator,
        "classifier": segmentation.classifier,
        "templates": segmentation.templates,
        **asdict(segmentation.rule),
        "distractors": list(segmentation.vocabulary.distractors),
        "masks": len(segmentation.proposals),
        "kept_masks": int(np.count_nonzero(segmentation.kept)),
        "ignored_names": dict(segmentation.vocabulary.ignored),
        "notes": list(segmentation.notes),
    }


def _categories(segmentation: Segmentation) -> list[dict[str, Any]]:
    colors = class_colors(segmentation.class_names)
    best_scores = segmentation.best_scores
    categories = []
    for index, entry in enumerate(segmentation.vocabulary.classes):
        area = int(segmentation.areas[index])
        category = {
            "id": index + FIRST_ID,
            "name": entry.name,
            "synonyms": list(entry.synonyms),
            "color": hex_color(colors[index]),
            "found": area > 0,
            "area": area,
            "share": area / segmentation.label_map.size,
            "score": float(segmentation.scores[index]) if area else None,
            "best_score": float(best_scores[index]),
        }
        categories.append(category)
    return categories


def _annotation(category: Mapping[str, Any], rle: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": category["id"],
        "image_id": 1,
        "category_id": category["id"],
        "segmentation": dict(rle),
        "area": category["area"],
        "bbox": coco_mask.toBbox(rle).tolist(),
        "iscrowd": 0,
        "score": category["score"],
    }
