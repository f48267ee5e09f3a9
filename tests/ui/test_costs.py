"""Estimates of what an analysis will take, from those that were measured."""

from dataclasses import replace

import pytest

from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.progress import EMBEDDING_REGIONS, PROPOSING
from ovseg_demo.segmentation import Timing
from ovseg_demo.ui.costs import AnalysisCosts, Kind
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry

OWN = Kind("mini", "sam", 0, "mask-adapted")
PUBLISHED = {("mini", "sam"): 2, ("large", "sam"): 20}


def timings(proposing, embedding, was_cached=False):
    return Timing(PROPOSING, proposing, was_cached), Timing(EMBEDDING_REGIONS, embedding, was_cached)


@pytest.fixture
def costs():
    costs = AnalysisCosts(lambda kind: PUBLISHED.get((kind.model, kind.generator), 0))
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


def test_another_model_takes_the_time_of_the_catalogue(costs):
    assert costs.estimate(Kind("large", "sam", 0, "mask-adapted")) == 4 * 20 / 2
    costs.note(Kind("large", "sam", 0, "mask-adapted"), timings(20.0, 8.0))
    assert costs.estimate(Kind("large", "sam", 0, "mask-adapted")) == 28


def test_the_catalogue_counts_for_a_models_first_generator():
    def entry(name, seconds):
        spec = replace(CATALOGUE[name], seconds=seconds)
        return ModelEntry(name, spec.title, spec.description, spec.generators, spec=spec)

    registry = ModelRegistry([entry("photo-mini", 2), entry("ovseg-r101c-vitb16", 30)], load=None)
    registry.costs.note(Kind("photo-mini", "sam", 0, "mask-adapted"), timings(3.0, 1.0))
    large = Kind("ovseg-r101c-vitb16", CATALOGUE["ovseg-r101c-vitb16"].generators[0], 0, "mask-adapted")
    assert registry.costs.estimate(large) == 4 * 30 / 2
    assert registry.costs.estimate(large._replace(generator="maskformer")) is None
    assert registry.costs.estimate(large._replace(points_per_side=16)) is None, "a grid that nobody timed"
