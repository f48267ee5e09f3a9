"""Areas that a person named lie over the map, whatever the class names and the granularity."""

import numpy as np
import pytest

from ovseg_demo.classification.corrections import Correction, connected_area
from ovseg_demo.errors import ImageError, ModelError, VocabularyError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.types import MaskPrompt
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.segmenter import Segmenter
from tests.test_segmenter import SIZE, QuadrantGenerator, make_clip, make_segmenter, random_image
from tests.tiny.sam import TINY_SAM_THRESHOLDS, tiny_sam

NAMES = "dog, grass / lawn, sky"


@pytest.fixture(scope="module")
def analysis():
    return make_segmenter(QuadrantGenerator(), make_clip()).analyze(random_image())


def area(*rows_and_columns):
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows_and_columns] = True
    return mask


CORNER = area(slice(2, 9), slice(3, 12))


@pytest.mark.parametrize("name, index", [("dog", 0), ("Lawn", 1), (" ‘sky’ ", 2), ("snow globe", 3)])
def test_an_area_gets_its_name(analysis, name, index):
    plain = analysis.segment(NAMES)
    corrected = analysis.segment(NAMES, corrections=[Correction.of(CORNER, name)])
    assert (corrected.label_map[CORNER] == index).all()
    np.testing.assert_array_equal(corrected.label_map[~CORNER], plain.label_map[~CORNER])
    assert len(corrected.class_names) == max(3, index + 1)
    assert corrected.areas.sum() == np.count_nonzero(corrected.label_map >= 0)
    assert corrected.areas[index] >= CORNER.sum()
    np.testing.assert_array_equal(corrected.corrected, CORNER)
    if index == 3:
        assert corrected.class_names[3] == "snow globe" and corrected.scores[3] == 1
        assert corrected.best_scores[3] == 0
        assert [entry.name for entry in corrected.legend() if entry.is_found].count("snow globe") == 1


def test_an_area_can_be_left_unlabelled(analysis):
    corrected = analysis.segment(NAMES, corrections=[Correction.of(CORNER, "")])
    assert (corrected.label_map[CORNER] == -1).all()
    explanation = corrected.explain(4, 4)
    assert explanation.is_corrected and explanation.name is None and explanation.label == -1
    assert explanation.classes, "what the model would have answered"


def test_the_last_correction_lies_on_top(analysis):
    first, second = Correction.of(CORNER, "fox"), Correction.of(area(slice(5, 20), slice(0, 5)), "hen")
    corrected = analysis.segment(NAMES, corrections=[first, second])
    assert corrected.class_names[3:] == ("fox", "hen")
    assert corrected.explain(3, 6).name == "hen" and corrected.explain(10, 3).name == "fox"
    np.testing.assert_array_equal(corrected.corrected, first.mask | second.mask)


def test_a_name_that_others_cover_is_no_class(analysis):
    names_and_areas = [("fox", CORNER), ("owl", area(slice(12, 15), slice(0, 5))), ("hen", CORNER)]
    corrections = [Correction.of(mask, name) for name, mask in names_and_areas]
    corrected = analysis.segment(NAMES, corrections=corrections)
    assert corrected.class_names[3:] == ("owl", "hen")
    assert corrected.explain(3, 2).name == "hen" and corrected.explain(0, 12).name == "owl"
    assert (corrected.label_map[CORNER] == 4).all()


@pytest.mark.parametrize("granularity", [0, 0.5, 1])
def test_corrections_hold_at_any_granularity_and_for_other_names(analysis, granularity):
    corrections = [Correction.of(CORNER, "dog")]
    for names in (NAMES, "tree, house"):
        corrected = analysis.segment(names, granularity=granularity, corrections=corrections)
        labels = set(corrected.label_map[CORNER].tolist())
        assert [corrected.class_names[label] for label in labels] == ["dog"]


def test_pixels_elsewhere_are_explained_as_before(analysis):
    plain = analysis.segment(NAMES, distractors="others")
    corrected = analysis.segment(
        NAMES, distractors="others", corrections=[Correction.of(CORNER, "snow globe")]
    )
    x, y = SIZE[1] - 2, SIZE[0] - 2
    before, after = plain.explain(x, y), corrected.explain(x, y)
    assert not after.is_corrected and after.name == before.name
    shares = {share.name: share.share for share in after.classes}
    assert shares.pop("snow globe") == 0
    assert shares == pytest.approx({share.name: share.share for share in before.classes})


def test_wrong_areas_and_names_are_refused(analysis):
    with pytest.raises(ImageError, match="at least one true pixel"):
        Correction.of(np.zeros(SIZE, dtype=bool), "dog")
    with pytest.raises(VocabularyError, match="No class name can be used"):
        Correction.of(CORNER, "?!")
    other = Correction.of(np.ones((3, 4), dtype=bool), "dog")
    with pytest.raises(ImageError, match="an image of 4×3 pixels"):
        analysis.segment(NAMES, corrections=[other])


def test_an_area_ends_where_the_label_changes():
    labels = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1]])
    np.testing.assert_array_equal(
        connected_area(labels, 0, 0), np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool)
    )
    assert connected_area(labels, 2, 2).sum() == 4


def test_a_segmenter_finds_the_mask_at_a_point():
    generator = SamProposalGenerator(tiny_sam(), **TINY_SAM_THRESHOLDS)
    segmenter = Segmenter({"sam": LazyModel(lambda: generator)}, LazyModel(make_clip))
    analysis = segmenter.analyze(random_image())
    prompt = MaskPrompt(inside=((20, 10),))
    mask = segmenter.mask_at(analysis, prompt)
    np.testing.assert_array_equal(mask, generator.mask_at(analysis.proposals.embedding, SIZE, prompt))
    corrected = analysis.segment(NAMES, corrections=[Correction.of(mask, "dog")])
    assert (corrected.label_map[mask] == 0).all()


def test_masks_of_another_generator_have_no_embedding(analysis):
    with pytest.raises(ModelError, match='generator "sam"'):
        make_segmenter(QuadrantGenerator(), make_clip()).mask_at(analysis, MaskPrompt(inside=((1, 1),)))


@pytest.mark.parametrize("shapes", ["rle", "polygons"])
def test_exports_say_who_named_an_area(analysis, shapes):
    corrected = analysis.segment(NAMES, corrections=[Correction.of(CORNER, "dog")])
    record = coco_record(corrected, shapes=shapes)
    by_user = [one for one in record["annotations"] if one["source"] == "user"]
    (annotation,) = by_user
    assert annotation["category_id"] == 1 and annotation["area"] == CORNER.sum()
    assert annotation["score"] is None
    assert len({one["id"] for one in record["annotations"]}) == len(record["annotations"])
    assert sum(one["area"] for one in record["annotations"]) == corrected.areas.sum()
    plain = coco_record(analysis.segment(NAMES), shapes=shapes)
    assert {one["source"] for one in plain["annotations"]} == {"model"}
