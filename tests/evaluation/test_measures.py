"""Counts of a model whose mistakes are known."""

import numpy as np
import pytest

from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.evaluation.measures import Coverage, LabelMaps, OracleClassifier, OracleMasks, UnmaskedRegions
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.evaluation.scores import Scores, accuracy
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.sticker_world import NOUNS
from tests.evaluation.flat_world import NAMES, ColourClip, FlatWorld, flat_segmenter

WORLD = FlatWorld()
SETTINGS = {"rule": GranularityRule(0.0)}


@pytest.fixture(scope="module")
def sample():
    return WORLD.load("image-1")


def test_a_perfect_model_has_a_perfect_score(sample):
    counts = LabelMaps(flat_segmenter(), WORLD.vocabulary, SETTINGS)(sample)
    scores = Scores.of(counts["confusion"], WORLD)
    assert (scores.miou, scores.base, scores.novel, scores.harmonic) == (100, 100, 100, 100)
    assert np.isnan(scores.iou[NAMES.index("white")]), "neither there nor found"
    assert counts["confusion"].sum() == (sample.labels != IGNORED).sum()


def test_a_mistake_costs_the_class_and_the_one_that_it_is_taken_for(sample):
    segmenter = flat_segmenter({"blue": "white"})
    counts = LabelMaps(segmenter, WORLD.vocabulary, SETTINGS)(sample)
    scores = Scores.of(counts["confusion"], WORLD)
    assert scores.novel == 0
    assert scores.base == pytest.approx(200 / 3)  # red and green are right, white is found where it is not
    assert scores.miou == 50
    assert scores.harmonic == 0


def test_oracle_masks_measure_which_classes_the_model_names_correctly(sample):
    counts = OracleMasks(flat_segmenter({"blue": "red"}), WORLD.vocabulary)(sample)
    assert counts["regions"].tolist() == [1, 1, 1, 0]
    assert counts["right"].tolist() == [1, 1, 0, 0]
    assert accuracy(counts) == pytest.approx(200 / 3)
    assert accuracy(counts, (0, 1)) == 100
    assert np.isnan(accuracy(counts, (3,)))
    np.testing.assert_array_equal(
        counts["confusion"][2, 0], (sample.labels == 2).sum(), "all of blue is called red"
    )


def test_small_regions_need_not_be_named(sample):
    segments, classes = sample.segments.copy(), np.append(sample.segment_classes, 3).astype(np.int32)
    segments[:5, 1:6] = 3
    with_speck = LabelledImage(sample.image, sample.labels, segments, classes)
    counts = OracleMasks(flat_segmenter(), WORLD.vocabulary)(with_speck)
    assert counts["regions"].tolist() == [1, 1, 1, 0]


def test_a_perfect_classifier_makes_up_for_all_mistakes(sample):
    segmenter = flat_segmenter({"blue": "red", "green": "red"})
    counts = OracleClassifier(segmenter, WORLD.vocabulary, "sam", soft=False)(sample)
    assert Scores.of(counts["confusion"], WORLD).miou == 100


def test_unmasked_regions_show_the_surroundings(monkeypatch):
    seen = []
    embed = ColourClip.embed_regions
    monkeypatch.setattr(
        ColourClip, "embed_regions", lambda self, p, **kw: seen.append(p) or embed(self, p, **kw)
    )
    labels = np.zeros((60, 80), np.int32)
    labels[20:50, 30:60] = 1
    image = np.where(labels[..., None] == 1, (0, 255, 0), (255, 0, 0)).astype(np.uint8)
    sample = LabelledImage.from_labels(image, labels)
    counts = UnmaskedRegions(flat_segmenter(), WORLD.vocabulary)(sample)
    assert counts["regions"].tolist() == [1, 1, 0, 0]
    assert seen[0].boxes.tolist() == [[0, 0, 80, 60], [27, 17, 63, 53]]
    assert seen[0].masks.sum(axis=(1, 2)).tolist() == [80 * 60, 36 * 36]


@pytest.mark.parametrize(("grown", "covered"), [(0, (1, 1)), (0.6, (1, 0)), (3, (0, 0))])
def test_coverage_counts_large_objects_with_a_fitting_proposal(grown, covered):
    segments = np.zeros((120, 160), np.int32)
    segments[30:90, 40:100], segments[100:119, 10:29] = 1, 2
    classes = np.array([len(NOUNS), 0, 1], np.int32)  # some stuff, a large thing and a small one
    image = np.zeros((120, 160, 3), np.uint8)
    sample = LabelledImage(image, classes[segments], segments, classes)
    masks = np.array([segments == 0, grow(segments == 1, grown), segments == 2])

    class Generator:
        def propose(self, image, *, generator):
            return Proposals.from_masks(masks, np.ones(3), image, image.shape[:2], generator)

    counts = Coverage(Generator(), "sam")(sample)
    assert (counts["objects"], counts["masks"]) == (1, 3)
    assert (counts["covered_50"], counts["covered_75"]) == covered


def grow(mask, share):
    """Add pixels outside the mask, as a share of its own, in reading order."""
    grown = mask.copy().ravel()
    outside = np.flatnonzero(~grown)
    grown[outside[: int(share * grown.sum())]] = True
    return grown.reshape(mask.shape)
