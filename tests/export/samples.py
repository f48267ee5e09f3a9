"""Label maps and segmentations for the tests of exports."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.classification.score_maps import HardMasks, ScoreMap
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.vocabulary import Vocabulary

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
label_maps = st.integers(1, 1000).flatmap(
    lambda classes: st.tuples(
        arrays(np.int32, shapes, elements=st.integers(-1, classes - 1)), st.just(classes)
    )
)
"""Label maps, each with its number of classes."""


def two_masks(names: str = "left / port, right, nowhere") -> Segmentation:
    """Two of three masks are kept, at half the image's resolution; the third class gets no pixel."""
    vocabulary = Vocabulary.parse(names, distractors="sky")
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 5:15, :10] = True
    masks[1, 5:15, 20:] = True
    masks[2] = True
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.1, 0.3]], np.float32)
    kept = np.array([True, True, False])
    proposals = Proposals.from_masks(masks, np.ones(3), np.zeros((20, 30, 3), np.uint8), (40, 60), "sam")
    score_map = ScoreMap(
        HardMasks(proposals, np.flatnonzero(kept)), probabilities[kept], 3, (40, 60), "nearest"
    )
    labels = score_map.label()
    areas, scores = labels.summarise(3)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Segmentation(
        image=image,
        vocabulary=vocabulary,
        proposals=proposals,
        probabilities=probabilities,
        kept=kept,
        label_map=labels.labels,
        areas=areas,
        scores=scores,
        score_map=score_map,
        rule=GranularityRule(0.5),
        classifier="mask-adapted",
        templates="photo",
    )


def with_label_map(label_map: np.ndarray, names: str = "red, green / lime, blue") -> Segmentation:
    """A segmentation with this label map and a random image of its size."""
    segmentation = two_masks(names)
    image = np.random.default_rng(0).integers(0, 256, (*label_map.shape, 3), np.uint8)
    classes = len(segmentation.class_names)
    return replace(
        segmentation,
        image=image,
        label_map=label_map,
        areas=np.bincount(label_map.ravel() + 1, minlength=classes + 1)[1:],
        scores=np.full(classes, 0.5, np.float32),
        probabilities=np.full((len(segmentation.proposals), classes), 1 / classes, np.float32),
    )


def _shape_examples() -> dict[str, np.ndarray]:
    empty = np.full((24, 30), -1, np.int32)

    def painted(*parts: tuple[int, slice, slice]) -> np.ndarray:
        label_map = empty.copy()
        for label, rows, columns in parts:
            label_map[rows, columns] = label
        return label_map

    ring = [(0, slice(2, 22), slice(3, 27)), (-1, slice(5, 19), slice(6, 24))]
    island = [
        (1, slice(8, 16), slice(9, 21)),
        (2, slice(10, 12), slice(11, 13)),
        (0, slice(13, 15), slice(15, 19)),
    ]
    return {
        "a ring": painted(*ring),
        "islands in a ring": painted(*ring, *island),
        "two parts": painted((1, slice(0, 5), slice(0, 7)), (1, slice(20, 24), slice(9, 30))),
        "one pixel": painted((2, slice(11, 12), slice(29, 30))),
        "all of the image": np.zeros_like(empty),
        "nothing": empty,
        "parts that touch at a corner": painted((0, slice(0, 5), slice(0, 5)), (0, slice(5, 9), slice(5, 8))),
        "holes that touch at a corner": painted(
            (0, slice(0, 20), slice(0, 20)), (1, slice(5, 7), slice(5, 7)), (1, slice(7, 9), slice(7, 9))
        ),
        "many holes in a row": np.where(np.indices((24, 30)).min(0) % 2 == 1, 1, 0).astype(np.int32),
        "a chessboard": (np.indices((24, 30)).sum(0) % 2).astype(np.int32),
        "noise": np.random.default_rng(1).integers(-1, 3, (24, 30)).astype(np.int32),
    }


SHAPES = _shape_examples()
"""Label maps of three classes that each make a format prove something."""
