"""Label maps and segmentations for the tests of exports."""

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
