"""All that a segmentation says as a COCO data set of one image, which pycocotools can load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from ovseg_demo.export.files import to_json
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.export.polygons import Ring, trace_polygons
from ovseg_demo.export.run_lengths import class_rles
from ovseg_demo.export.sized import MODEL, SizedSegmentation
from ovseg_demo.images import SourceImage
from ovseg_demo.visualization.palette import class_colors, hex_color

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

Shapes = Literal["rle", "polygons"]
"""How a mask is written: as run lengths, or as polygons."""


def write(sized: SizedSegmentation) -> bytes:
    """Return the record of a segmentation as JSON, with masks as run lengths."""
    return to_json(_record(sized, "rle"))


def write_polygons(sized: SizedSegmentation) -> bytes:
    """Return the record of a segmentation as JSON with masks as polygons, on one line: points are many."""
    return to_json(_record(sized, "polygons"), indent=None)


def coco_record(
    segmentation: Segmentation,
    *,
    settings: Mapping[str, Any] | None = None,
    source: SourceImage | None = None,
    shapes: Shapes = "rle",
) -> dict[str, Any]:
    """Return all that a segmentation says as a COCO data set of one image, at the upright size of the file.

    Args:
        segmentation: what to record.
        settings: how it was made; anything that JSON can hold. What the segmentation itself knows is added,
            and counts where both name the same setting.
        source: the file that was segmented; without one, the size is that of the segmentation.
        shapes: how masks are written. COCO's polygons have no holes, so a hole is joined to the outer ring by
            a cut of no width; pycocotools makes the exact mask of such polygons.

    Returns:
        A dictionary that JSON can hold: "images" with the one image; "categories" with every class, also
        those without a pixel; "annotations" with a mask for each class that has a pixel; "info" with the
        settings. The pixels that a person named have annotations of their own, whose "source" is "user".
    """
    options = ExportOptions(settings or {}, source=source)
    return _record(SizedSegmentation.of(segmentation, options), shapes)


def flat_points(ring: Ring) -> list[float]:
    """Return the points of a ring as COCO lists them: x, y, x, y, …; whole numbers as integers."""
    points = ring.points.ravel()
    whole = points.astype(np.int64)
    if np.array_equal(whole, points):
        return whole.tolist()
    return [int(value) if value.is_integer() else value for value in points.tolist()]


def _record(sized: SizedSegmentation, shapes: Shapes) -> dict[str, Any]:
    categories = _categories(sized)
    return {
        "info": {
            "description": "Open-vocabulary semantic segmentation",
            "settings": {**sized.options.settings, **_known_settings(sized.segmentation)},
        },
        "images": [_image(sized)],
        "categories": categories,
        "annotations": [
            annotation
            for source, label_map in sized.by_source()
            for annotation in _annotations(label_map, categories, source, shapes)
        ],
    }


def _annotations(
    label_map: np.ndarray, categories: Sequence[Mapping[str, Any]], source: str, shapes: Shapes
) -> Iterator[dict[str, Any]]:
    """Yield an annotation for each class that has a pixel of a source."""
    rles = class_rles(label_map, len(categories))
    masks: list[Any] = [dict(rle) for rle in rles]
    if shapes == "polygons":
        masks = [[] for _ in rles]
        for polygon in trace_polygons(label_map):
            masks[polygon.label].append(flat_points(polygon.cut_open()))
    first = 0 if source == MODEL else len(categories)  # each annotation has a number of its own
    for category, mask, rle in zip(categories, masks, rles, strict=True):
        area = int(coco_mask.area(rle))
        if area:
            yield {
                "id": first + category["id"],
                "image_id": 1,
                "category_id": category["id"],
                "segmentation": mask,
                "area": area,
                "bbox": coco_mask.toBbox(rle).tolist(),
                "iscrowd": 0,
                "score": category["score"] if source == MODEL else None,
                "source": source,
            }


def _image(sized: SizedSegmentation) -> dict[str, Any]:
    (height, width), source = sized.size, sized.options.source
    if source is None:
        return {"id": 1, "height": height, "width": width, "file_name": "label_map.png"}
    return {
        "id": 1,
        "height": height,
        "width": width,
        "file_name": source.file_name,
        "source": {
            "file_name": source.file_name,
            "width": source.width,
            "height": source.height,
            "is_turned": source.is_turned,
        },
    }


def _known_settings(segmentation: Segmentation) -> dict[str, Any]:
    height, width = segmentation.label_map.shape
    return {
        "generator": segmentation.proposals.generator,
        "classifier": segmentation.classifier,
        "templates": segmentation.templates,
        **asdict(segmentation.rule),
        "min_score": segmentation.min_score,
        "distractors": list(segmentation.vocabulary.distractors),
        "masks": len(segmentation.proposals),
        "kept_masks": int(np.count_nonzero(segmentation.kept)),
        "segmented_size": [width, height],
        "ignored_names": dict(segmentation.vocabulary.ignored),
        "notes": list(segmentation.notes),
    }


def _categories(sized: SizedSegmentation) -> list[dict[str, Any]]:
    segmentation = sized.segmentation
    colors = class_colors(sized.class_names)
    best_scores = segmentation.best_scores
    categories = []
    for index, entry in enumerate(segmentation.vocabulary.classes):
        area = int(sized.areas[index])
        category = {
            "id": index + FIRST_ID,
            "name": entry.name,
            "synonyms": list(entry.synonyms),
            "color": hex_color(colors[index]),
            "found": area > 0,
            "area": area,
            "share": area / sized.label_map.size,
            "score": float(segmentation.scores[index]) if area else None,
            "best_score": float(best_scores[index]),
        }
        categories.append(category)
    return categories
