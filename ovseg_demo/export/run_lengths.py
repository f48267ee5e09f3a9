"""The mask of each class of a label map as a COCO run-length encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


def class_rles(label_map: np.ndarray, classes: int) -> list[dict[str, Any]]:
    """The mask of each class as a COCO run-length encoding whose counts are text, which JSON can hold.

    One pass over the map finds the runs of all classes together.

    Args:
        label_map: int32 (H, W), class indices below ``classes``, or −1.
        classes: K; a class without a pixel has an empty mask.
    """
    height, width = label_map.shape
    column_wise = label_map.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(column_wise)) + 1])
    stops = np.append(starts[1:], column_wise.size)
    by_class = np.argsort(column_wise[starts], kind="stable")
    first = np.searchsorted(column_wise[starts][by_class], np.arange(classes + 1))
    uncompressed = []
    for index in range(classes):
        runs = by_class[first[index] : first[index + 1]]
        edges = np.column_stack([starts[runs], stops[runs]]).ravel()
        counts = np.diff(edges, prepend=0, append=column_wise.size).tolist()
        if len(counts) > 1 and counts[-1] == 0:  # the class has the last pixel; COCO ends there
            counts.pop()
        uncompressed.append({"size": [height, width], "counts": counts})
    rles = coco_mask.frPyObjects(uncompressed, height, width) if uncompressed else []
    return [{"size": [height, width], "counts": rle["counts"].decode("ascii")} for rle in rles]
