"""Estimates of what an analysis will take, from those that were measured."""

import pytest

from ovseg_demo.progress import EMBEDDING_REGIONS, PROPOSING
from ovseg_demo.segmentation import Timing
from ovseg_demo.ui.costs import AnalysisCosts, Kind, Operations

OWN = Kind("mini", "sam", 0, "mask-adapted")
ARITHMETIC = {
    ("mini", "sam"): Operations(1, 2),
    ("large", "sam"): Operations(10, 6),
    ("large", "maskformer"): Operations(None, 6),
}


def timings(proposing, embedding, was_cached=False):
    return Timing(PROPOSING, proposing, was_cached), Timing(EMBEDDING_REGIONS, embedding, was_cached)


@pytest.fixture
def costs():
    costs = AnalysisCosts(lambda kind: ARITHMETIC.get((kind.model, kind.generator), Operations()))
    costs.note(OWN, timings(3.0, 1.0), points_per_side=16)
    return costs


def test_what_was_measured_last_counts(costs):
    assert costs.estimate(OWN) == 4
    costs.note(OWN, timings(5.0, 1.5))
    costs.note(OWN, timings(0.0, 0.0, was_cached=True))
    assert costs.estimate(OWN) == 6.5


def test_nothing_is_said_of_what_nothing_similar_is_known_of(costs):
    assert AnalysisCosts().estimate(OWN) is None
    assert costs.estimate(OWN._replace(model="custom")) is None
    assert costs.estimate(Kind("large", "maskformer", 0, "mask-adapted")) is None


def test_points_take_their_time_each(costs):
    assert costs.estimate(OWN._replace(points_per_side=32)) == 4 * 3 + 1
    costs.note(OWN._replace(points_per_side=32), timings(10.0, 2.0), points_per_side=32)
    assert costs.estimate(OWN._replace(points_per_side=32)) == 12
    assert costs.estimate(OWN._replace(points_per_side=64)) == 4 * 10 + 2
    assert costs.estimate(OWN) == 4


def test_masks_that_are_there_cost_nothing(costs):
    unadapted = OWN._replace(classifier="un-adapted")
    assert costs.estimate(unadapted) == 4, "as the other classifier of the model"
    assert costs.estimate(unadapted, known_masks=OWN) == 1


def test_another_model_takes_the_time_of_its_arithmetic(costs):
    assert costs.estimate(Kind("large", "sam", 0, "mask-adapted")) == 10 * 3 + 3 * 1
