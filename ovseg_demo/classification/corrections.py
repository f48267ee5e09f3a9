"""Corrections: areas of an image that a person named. They are drawn over what the masks give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Self

import cv2
import numpy as np

from ovseg_demo.classification.rules import Labeling
from ovseg_demo.classification.score_maps import UNLABELLED, LabelMap
from ovseg_demo.errors import ImageError
from ovseg_demo.proposals.types import tight_boxes
from ovseg_demo.vocabulary import ClassName, Vocabulary


@dataclass(frozen=True, eq=False)
class Correction:
    """An area of an image that a person named.

    Attributes:
        name: the name of its class; an empty one leaves the area unlabelled.
        box: (x0, y0, x1, y1), the area's tight box in pixels, with exclusive end.
        packed_mask: uint8 (y1 - y0, ceil((x1 - x0) / 8)), the area inside its box, ``np.packbits`` along the
            last axis.
        image_size: (H, W) of the image.
    """

    name: str
    box: tuple[int, int, int, int]
    packed_mask: np.ndarray
    image_size: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray, name: str) -> Self:
        """Return the correction of an area, bool (H, W), which has at least one true pixel.

        The name is cleaned as :meth:`.Vocabulary.parse` cleans names; of several the first counts.

        Raises:
            VocabularyError: the name is given and cannot be used.
            ImageError: the area has no pixel.
        """
        if mask.dtype != bool or mask.ndim != 2 or not mask.any():
            raise ImageError(
                "A correction needs an area: a mask, bool (height, width), with at least one true pixel."
            )
        x0, y0, x1, y1 = tight_boxes(mask[None])[0].tolist()
        cleaned = Vocabulary.parse([name]).class_names[0] if name.strip() else ""
        return cls(cleaned, (x0, y0, x1, y1), np.packbits(mask[y0:y1, x0:x1], axis=-1), mask.shape)

    @property
    def mask(self) -> np.ndarray:
        """The area at the image's size: a new bool array (H, W)."""
        mask = np.zeros(self.image_size, dtype=bool)
        self.inside(mask)[self.mask_in_box] = True
        return mask

    @property
    def mask_in_box(self) -> np.ndarray:
        """The area inside its box: bool (y1 - y0, x1 - x0)."""
        return np.unpackbits(self.packed_mask, axis=-1, count=self.box[2] - self.box[0]).view(bool)

    @property
    def nbytes(self) -> int:
        """The bytes that the area takes."""
        return self.packed_mask.nbytes

    def inside(self, array: np.ndarray) -> np.ndarray:
        """Return the part of an array (H, W) that the box contains, without a copy."""
        x0, y0, x1, y1 = self.box
        return array[y0:y1, x0:x1]

    def covers(self, x: int, y: int) -> bool:
        """Return whether the pixel in column ``x`` and row ``y`` belongs to the area."""
        x0, y0, x1, y1 = self.box
        return x0 <= x < x1 and y0 <= y < y1 and bool(self.mask_in_box[y - y0, x - x0])


def apply_corrections(
    labeling: Labeling, vocabulary: Vocabulary, corrections: Sequence[Correction]
) -> tuple[Labeling, Vocabulary]:
    """Return a labeling and its vocabulary with corrections drawn over the label map, the last one on top.

    A name that the vocabulary lacks becomes a further class where later corrections leave pixels of it. It
    takes no other pixels: no mask has a probability of it. The share of a corrected pixel is 1.

    Args:
        labeling: of the masks.
        vocabulary: K classes and their distractors.
        corrections: areas of the same image.

    Raises:
        ImageError: a correction was made for an image of another size.
    """
    if not corrections:
        return labeling, vocabulary
    size = labeling.label_map.labels.shape
    for correction in corrections:
        if correction.image_size != size:
            height, width = correction.image_size
            raise ImageError(
                f"A correction was made for an image of {width}×{height} pixels, but this one has "
                f"{size[1]}×{size[0]}; make it anew."
            )
    class_of = {n.casefold(): i for i, entry in enumerate(vocabulary.classes) for n in entry.names}
    new = []
    for name in filter(None, (correction.name for correction in corrections)):
        if name.casefold() not in class_of:
            class_of[name.casefold()] = len(vocabulary.classes) + len(new)
            new.append(name)
    labels, shares = (array.copy() for array in labeling.label_map)
    for correction in corrections:
        mask = correction.mask_in_box
        is_named = bool(correction.name)
        label = class_of[correction.name.casefold()] if is_named else UNLABELLED
        correction.inside(labels)[mask] = label
        correction.inside(shares)[mask] = float(is_named)
    new = _keep_visible(labels, len(vocabulary.classes), new)
    return _add_classes(labeling, len(vocabulary.classes), len(new), LabelMap(labels, shares)), replace(
        vocabulary, classes=(*vocabulary.classes, *map(ClassName, new))
    )


def _keep_visible(labels: np.ndarray, known: int, new: Sequence[str]) -> Sequence[str]:
    """Return those of the new classes, numbered from ``known``, that have pixels; renumber the labels."""
    is_new = labels >= known
    numbers = labels[is_new] - known
    is_visible = np.bincount(numbers, minlength=len(new)) > 0
    labels[is_new] = known + (is_visible.cumsum() - 1)[numbers]
    return list(compress(new, is_visible))


def connected_area(label_map: np.ndarray, x: int, y: int) -> np.ndarray:
    """Return the area around a pixel whose pixels touch and have its label: bool (H, W).

    Args:
        label_map: int32 (H, W).
        x: the pixel's column.
        y: the pixel's row.
    """
    same = (label_map == label_map[y, x]).astype(np.uint8)
    _, parts = cv2.connectedComponents(same, connectivity=4)
    return parts == parts[y, x]


def _add_classes(labeling: Labeling, class_count: int, added: int, label_map: LabelMap) -> Labeling:
    """Return a labeling with another label map, and with further classes that no mask belongs to."""
    zeros = [class_count] * added

    def widen(probabilities: np.ndarray) -> np.ndarray:
        return np.insert(probabilities, zeros, 0, axis=1)

    score_map = replace(
        labeling.score_map,
        probabilities=widen(labeling.score_map.probabilities),
        class_count=class_count + added,
    )
    return labeling._replace(
        label_map=label_map, score_map=score_map, probabilities=widen(labeling.probabilities)
    )
