"""Whether an image is of the kind that a model of a closed world knows, judged by its region embeddings."""

from __future__ import annotations

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.vocabulary import Vocabulary

LEAST_FAMILIARITY = 0.52
"""Below it, an image is foreign to the model.

For sticker-world, its own scenes have 0.62 to 0.85 with Segment Anything's masks (10 scenes) and 0.58 to 0.90
with MaskFormer's (3); photographs have 0.33 to 0.46 (7) and 0.27 to 0.34 (3).
"""


def is_foreign(analysis: Analysis, world: Vocabulary) -> bool:
    """Return whether few of an image's regions resemble anything in a model's world.

    Only the mask-adapted classifier is judged, for which the limit was measured.
    """
    return analysis.classifier == CLASSIFIERS[0] and familiarity(analysis, world) < LEAST_FAMILIARITY


def familiarity(analysis: Analysis, world: Vocabulary) -> float:
    """Return the mean of each region's highest probability among all names of a world, weighted by area.

    A region that resembles one name gets a probability near 1 for it; one that resembles none divides its
    probability among many. The result is in [0, 1]; it is 1 where there are no regions.
    """
    areas = analysis.proposals.areas.astype(np.float64) * analysis.regions.any(axis=1)
    if not areas.any():
        return 1.0
    text = analysis.text_encoder.encode(world.all_names, None).vectors
    probabilities = class_probabilities(analysis.regions, text, world, analysis.logit_scale)
    return float(np.average(probabilities.max(axis=1), weights=areas))
