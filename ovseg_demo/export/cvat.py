"""Annotations that CVAT imports as "COCO 1.0", and the labels for its constructor.

The masks are run lengths of COCO's crowds: CVAT makes masks for its brush of them, with holes and all parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pycocotools import mask as coco_mask

from ovseg_demo.export.files import ExportFile, to_json
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.run_lengths import class_rles
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.visualization.palette import class_colors, hex_color


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield the COCO data set of one image, in the folder ``annotations``."""
    height, width = sized.size
    annotations = []
    for index, rle in enumerate(class_rles(sized.label_map, len(sized.class_names))):
        if not sized.areas[index]:
            continue
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": index + FIRST_ID,
                "segmentation": rle,
                "area": int(sized.areas[index]),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "iscrowd": 1,
            }
        )
    record = {
        "info": {},
        "licenses": [],
        "images": [{"id": 1, "width": width, "height": height, "file_name": sized.options.image_name}],
        "categories": [
            {"id": index + FIRST_ID, "name": name, "supercategory": ""}
            for index, name in enumerate(sized.class_names)
        ],
        "annotations": annotations,
    }
    subset = sized.options.file_stem.replace("/", "-")
    yield ExportFile(f"annotations/instances_{subset}.json", to_json(record))


def write_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield ``labels.json``, which the tab "Raw" of CVAT's constructor of labels takes."""
    labels = [
        {"name": name, "color": hex_color(color), "attributes": []}
        for name, color in zip(class_names, class_colors(class_names), strict=True)
    ]
    yield ExportFile("labels.json", to_json(labels))
