import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, NamedMasks
from ovseg_demo.proposals.types import MaskQueries, Proposals
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.vocabulary import Vocabulary

IMAGE = np.zeros((4, 6, 3), np.uint8)


def segmentation_of(masks, probabilities, names="left, right", granularity=0.0, distractors="sky"):
    proposals = Proposals.from_masks(
        np.array(masks, bool), np.ones(len(masks)), IMAGE, IMAGE.shape[:2], "sam"
    )
    vocabulary = Vocabulary.parse(names, distractors=distractors)
    texts = np.zeros((len(vocabulary.all_names), 6), np.float32)  # this rule reads probabilities alone
    probabilities = np.array(probabilities, np.float32)
    return label(
        IMAGE,
        NamedMasks(proposals, MaskPartition.of(proposals), probabilities, texts, vocabulary),
        GranularityRule(granularity),
    )


def label(image, masks, rule):
    labeling = rule.label(masks)
    class_count = len(masks.vocabulary.classes)
    areas, scores = labeling.label_map.summarise(class_count)
    return Segmentation(
        image=image,
        vocabulary=masks.vocabulary,
        proposals=masks.proposals,
        probabilities=labeling.probabilities[:, :class_count],
        kept=labeling.kept,
        label_map=labeling.label_map.labels,
        areas=areas,
        scores=scores,
        score_map=labeling.score_map,
        rule=rule,
        classifier="mask-adapted",
        templates="vild",
    )


def mask_of(columns):
    mask = np.zeros((4, 6), bool)
    mask[:, columns] = True
    return mask


@pytest.fixture
def overlapping():
    """Columns 0–2 and 2–3 of six, column 3 under a mask that the distractor wins."""
    masks = [mask_of(slice(0, 3)), mask_of(slice(2, 4)), mask_of(slice(3, 4))]
    return segmentation_of(masks, [[0.9, 0.1, 0.0], [0.3, 0.6, 0.1], [0.0, 0.1, 0.9]])


def test_areas_scores_and_best_scores(overlapping):
    np.testing.assert_array_equal(overlapping.label_map, [[0, 0, 0, -1, -1, -1]] * 4)
    np.testing.assert_array_equal(overlapping.areas, [12, 0])
    np.testing.assert_allclose(overlapping.scores, [(0.9 + 0.9 + 1.2 / 2) / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(overlapping.best_scores, [0.9, 0.6], rtol=1e-6)
    assert overlapping.class_names == ("left", "right")


def test_an_explanation_ranks_masks_and_classes(overlapping):
    found = overlapping.explain(x=2, y=1)
    assert (found.label, found.name) == (0, "left")
    np.testing.assert_array_equal(found.masks, [0, 1])
    np.testing.assert_allclose(found.contributions, [0.9, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(found.mask, mask_of(slice(0, 3)))
    assert [entry.name for entry in found.classes] == ["left", "right", "sky"]
    np.testing.assert_allclose([entry.share for entry in found.classes], [0.6, 0.35, 0.05], rtol=1e-5)
    assert [entry.is_distractor for entry in found.classes] == [False, False, True]


def test_where_a_distractor_wins_the_explanation_names_it(overlapping):
    found = overlapping.explain(x=3, y=0)
    assert (found.label, found.name) == (-1, "sky")
    np.testing.assert_array_equal(found.masks, [2, 1])
    np.testing.assert_array_equal(found.mask, mask_of(slice(3, 4)))


def test_under_no_mask_there_is_nothing_to_explain(overlapping):
    found = overlapping.explain(x=5, y=3)
    assert (found.label, found.name, found.classes, found.mask) == (-1, None, (), None)
    assert len(found.masks) == len(found.contributions) == 0


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (6, 0), (0, 4)])
def test_pixels_outside_the_image_are_refused(overlapping, x, y):
    with pytest.raises(ValueError, match="6 × 4"):
        overlapping.explain(x, y)


def test_no_masks_at_all_make_an_empty_result():
    empty = segmentation_of(np.zeros((0, 4, 6)), np.zeros((0, 3)))
    np.testing.assert_array_equal(empty.label_map, np.full((4, 6), -1))
    np.testing.assert_array_equal(empty.best_scores, [0, 0])
    assert empty.probabilities.shape == (0, 2)
    assert empty.explain(0, 0).name is None
    assert not any(entry.is_found for entry in empty.legend())
    assert empty.overlay().width >= 6


def test_more_than_255_classes_differ_from_unlabelled():
    names = [f"class {index}" for index in range(1000)]
    probabilities = np.zeros((2, 1000))
    probabilities[0, 255] = probabilities[1, 999] = 1
    masks = [mask_of(slice(0, 2)), mask_of(slice(2, 4))]
    segmentation = segmentation_of(masks, probabilities, names=names, distractors="")
    np.testing.assert_array_equal(segmentation.label_map, [[255, 255, 999, 999, -1, -1]] * 4)


def unit_rows(random, rows):
    embeddings = random.standard_normal((rows, 6)).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def random_segmentation(seed, rule, classes="a, b / c, d"):
    """Of MaskFormer-like proposals at half the image's size."""
    random = np.random.default_rng(seed)
    vocabulary = Vocabulary.parse(classes, distractors="e")
    masks = random.random((4, 5, 7)) < 0.4
    masks[:, 0, 0] = True
    queries = MaskQueries(
        mask_logits=random.standard_normal((6, 2, 2)).astype(np.float32),
        class_embeddings=unit_rows(random, 6),
        non_object_embedding=unit_rows(random, 1)[0],
        kept=np.array([0, 2, 3, 5]),
        padded_size=(8, 8),
    )
    working_image = np.zeros((5, 7, 3), np.uint8)
    proposals = Proposals.from_masks(masks, np.ones(4), working_image, (10, 14), "maskformer", queries)
    texts = 0.02 * unit_rows(
        random, len(vocabulary.all_names)
    )  # short, for probabilities that are not all 0 or 1
    of_regions = class_probabilities(unit_rows(random, 4), texts, vocabulary)
    masks = NamedMasks(proposals, MaskPartition.of(proposals), of_regions, texts, vocabulary)
    return label(np.zeros((10, 14, 3), np.uint8), masks, rule)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    rule=st.sampled_from([GranularityRule(0.6), EnsembleRule(0.7)]),
    x=st.integers(0, 13),
    y=st.integers(0, 9),
)
def test_explanations_agree_with_the_label_map(seed, rule, x, y):
    segmentation = random_segmentation(seed, rule)
    found = segmentation.explain(x, y)
    assert found.label == segmentation.label_map[y, x]
    if found.name is None:
        return
    names = (*segmentation.class_names, *segmentation.vocabulary.distractors)
    winner = names.index(found.name)
    assert (winner if winner < 3 else -1) == found.label
    assert found.classes[0].name == found.name
    np.testing.assert_allclose(sum(entry.share for entry in found.classes), 1, rtol=1e-5)
    assert (np.diff(found.contributions) <= 0).all()
    score = next(
        strip[winner, y - start, x].item()
        for start, strip in segmentation.score_map.strips()
        if start <= y < start + strip.shape[1]
    )
    np.testing.assert_allclose(found.contributions.sum(), score, rtol=1e-4)
    assert set(found.masks) <= set(segmentation.score_map.masks.indices)
