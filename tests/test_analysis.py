"""An analysis is a value: it answers questions without a cache and without its segmenter."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from ovseg_demo import load_segmenter
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule
from ovseg_demo.errors import Cancelled, ModelError, VocabularyError
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.runtime.caching import ByteCache, LazyModel
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.sticker_world import render_scene
from ovseg_demo.vocabularies.class_lists import load_vocabulary
from ovseg_demo.vocabulary import Vocabulary
from tests.test_segmenter import (
    SIZE,
    Log,
    QuadrantGenerator,
    cached_stages,
    make_clip,
    make_segmenter,
    random_image,
    stages,
)
from tests.tiny.maskformer import tiny_maskformer
from tests.ui.colour_world import colour_segmenter, landscape


@pytest.fixture(scope="module")
def clip():
    return make_clip()


@pytest.fixture
def generator():
    return QuadrantGenerator()


@pytest.fixture
def segmenter(generator, clip):
    return make_segmenter(generator, clip)


@pytest.fixture
def analysis(segmenter):
    return segmenter.analyze(random_image())


@pytest.fixture(scope="module")
def soft_analysis(clip):
    """Of MaskFormer's masks, by a model whose own weight is 0.4."""
    generator = MaskFormerProposalGenerator(tiny_maskformer(), min_size=64, max_size=128)
    generators = {"maskformer": LazyModel(lambda: generator)}
    return Segmenter(generators, LazyModel(lambda: clip), clip_weight=0.4).analyze(random_image())


def assert_same_map(found, expected):
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.kept, expected.kept)
    np.testing.assert_array_equal(found.label_map, expected.label_map)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_it_holds_what_depends_on_the_image_alone(segmenter, generator):
    analysis = segmenter.analyze(random_image(), classifier="mask-adapted-no-prompts")
    np.testing.assert_array_equal(analysis.image, random_image())
    assert (analysis.generator, analysis.classifier) == ("sam", "mask-adapted-no-prompts")
    assert len(analysis.proposals) == len(analysis.regions) == 5
    np.testing.assert_allclose(np.linalg.norm(analysis.regions, axis=1), 1, rtol=1e-5)
    assert stages(analysis) == [PROPOSING, EMBEDDING_REGIONS]
    assert cached_stages(analysis) == []
    assert cached_stages(segmenter.analyze(random_image())) == [PROPOSING]
    again = segmenter.analyze(random_image(), classifier="mask-adapted-no-prompts")
    assert cached_stages(again) == [PROPOSING, EMBEDDING_REGIONS]
    assert analysis.nbytes > analysis.image.nbytes + analysis.regions.nbytes


def test_its_answers_are_those_of_the_segmenter(segmenter, analysis):
    settings = {"granularity": 0.6, "distractors": "sky", "templates": "photo"}
    found = analysis.segment("dog, grass / lawn", **settings)
    expected = segmenter.segment(random_image(), "dog, grass / lawn", **settings)
    assert_same_map(found, expected)
    assert found.vocabulary == expected.vocabulary
    assert (found.rule, found.templates) == (GranularityRule(0.6), "photo")
    assert stages(found) == [ENCODING_NAMES, DRAWING]


def test_it_answers_without_any_cache(generator, clip):
    segmenter = make_segmenter(generator, clip, caches=Caches(ByteCache(0), ByteCache(0)))
    analysis, log = segmenter.analyze(random_image()), Log()
    del segmenter
    answers = [analysis.segment(names, progress=log) for names in ("a, b", "c, d, e", "a, b")]
    assert generator.calls == 1
    assert log.stages == [ENCODING_NAMES], "neither masks nor regions are computed again"
    assert [cached_stages(answer) for answer in answers] == [[], [], []]
    assert_same_map(answers[0], answers[2])
    for answer, names in zip(answers, ("a, b", "c, d, e"), strict=False):
        assert_same_map(answer, make_segmenter(QuadrantGenerator(), clip).segment(random_image(), names))


def test_it_cannot_be_changed_and_questions_leave_it_as_it_is(analysis):
    before = {name: getattr(analysis, name).copy() for name in ("image", "regions")}
    masks = analysis.proposals.packed_masks.copy()
    for names, granularity in (("a, b", 0), ("c", 1), ("a / b, c", 0.5)):
        analysis.segment(names, granularity=granularity)
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(analysis, name), array)
    np.testing.assert_array_equal(analysis.proposals.packed_masks, masks)
    for field in fields(analysis):
        with pytest.raises(FrozenInstanceError):
            setattr(analysis, field.name, None)


def test_many_threads_may_ask_one_analysis(analysis):
    questions = [names for names in ("a, b", "c, d, e", "b, e", "f") for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(analysis.segment, questions))
    for names, answer in zip(questions, answers, strict=True):
        expected = analysis.segment(names)
        assert answer.class_names == expected.class_names
        np.testing.assert_allclose(answer.probabilities, expected.probabilities, atol=1e-4)


def test_templates_are_the_models_unless_others_are_asked_for(generator, clip):
    analysis = make_segmenter(generator, clip, templates="photo").analyze(random_image())
    own, same, other = (analysis.segment("a, b", templates=name) for name in (None, "photo", "vild"))
    assert (own.templates, other.templates) == ("photo", "vild")
    np.testing.assert_array_equal(own.probabilities, same.probabilities)
    assert np.abs(own.probabilities - other.probabilities).max() > 1e-3


def test_encoding_names_can_be_stopped(analysis):
    with pytest.raises(Cancelled):
        analysis.segment("a, b", progress=Log(stop_at=ENCODING_NAMES))
    assert cached_stages(analysis.segment("a, b")) == []


class TestRules:
    def test_the_default_is_a_granularity_of_0_8(self, analysis):
        assert analysis.segment("a, b").rule == GranularityRule() == GranularityRule(0.8)

    def test_a_granularity_is_short_for_its_rule(self, analysis):
        short = analysis.segment("a, b, c", granularity=0.3)
        long = analysis.segment("a, b, c", rule=GranularityRule(0.3))
        assert short.rule == long.rule
        assert_same_map(short, long)

    def test_a_rule_and_a_granularity_contradict_each_other(self, analysis):
        with pytest.raises(ModelError, match="Both a rule and a granularity were given"):
            analysis.segment("a, b", rule=GranularityRule(), granularity=0.8)

    def test_anything_else_is_no_rule(self, analysis):
        with pytest.raises(ModelError, match="'ensemble' is not a rule; give a GranularityRule"):
            analysis.segment("a, b", rule="ensemble")

    @pytest.mark.parametrize("granularity", [-0.1, 1.01, float("nan")])
    def test_a_granularity_out_of_range_is_refused(self, analysis, granularity):
        message = f"granularity {granularity} is outside the range from 0"
        with pytest.raises(ModelError, match=message):
            GranularityRule(granularity)
        with pytest.raises(ModelError, match=message):
            analysis.segment("a, b", granularity=granularity)

    @pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
    def test_a_weight_out_of_range_is_refused(self, weight):
        with pytest.raises(ModelError, match=f"CLIP weight {weight} is outside the range from 0 to 1"):
            EnsembleRule(weight)

    def test_the_ensemble_takes_the_models_weight_unless_another_is_given(self, soft_analysis):
        own, same, other = (
            soft_analysis.segment("a, b", rule=EnsembleRule(weight)) for weight in (None, 0.4, 0.9)
        )
        assert own.rule == same.rule == EnsembleRule(0.4)
        assert_same_map(own, same)
        assert np.abs(own.probabilities - other.probabilities).max() > 1e-3

    def test_trained_classes_exchange_the_exponents(self, soft_analysis):
        trained, exchanged, untrained = (
            soft_analysis.segment("a, b", rule=rule).probabilities
            for rule in (EnsembleRule(0.8, (True, False)), EnsembleRule(1 - 0.8), EnsembleRule(0.8))
        )
        np.testing.assert_allclose(trained[:, 0], exchanged[:, 0], rtol=1e-5)
        np.testing.assert_array_equal(trained[:, 1], untrained[:, 1])

    def test_each_class_is_trained_or_not(self, soft_analysis):
        rule = EnsembleRule(0.5, (True, False, True))
        with pytest.raises(ModelError, match="3 entries; give one for each of the 2 classes"):
            soft_analysis.segment("a, b", rule=rule)

    def test_hard_masks_have_no_ensemble(self, analysis):
        with pytest.raises(ModelError, match='needs the soft masks of "maskformer"; "sam" has hard masks'):
            analysis.segment("a, b", rule=EnsembleRule())


class TestRefusals:
    def test_names_that_cannot_be_used(self, analysis):
        with pytest.raises(VocabularyError, match="type at least one"):
            analysis.segment(" , ;")

    def test_distractors_beside_a_vocabulary(self, analysis):
        vocabulary = Vocabulary.parse("dog, cat", distractors="sky")
        assert analysis.segment(vocabulary).vocabulary is vocabulary
        with pytest.raises(VocabularyError, match="has its own distractors"):
            analysis.segment(vocabulary, distractors="wall")

    def test_unknown_templates(self, analysis):
        with pytest.raises(ModelError, match='no prompt templates "vlid"; choose one of vild'):
            analysis.segment("a, b", templates="vlid")
        with pytest.raises(ModelError, match="no learned prompts; choose other templates: vild"):
            analysis.segment("a, b", templates="learned")


class TestExplain:
    def test_a_pixel_is_explained_with_the_settings_of_a_question(self, analysis):
        settings = {"granularity": 0, "distractors": "sky"}
        found = analysis.explain(20, 10, "dog, grass", **settings)
        expected = analysis.segment("dog, grass", **settings).explain(20, 10)
        assert (found.x, found.y, found.label, found.name) == (20, 10, expected.label, expected.name)
        assert found.classes == expected.classes
        assert {entry.name for entry in found.classes} == {"dog", "grass", "sky"}
        np.testing.assert_array_equal(found.masks, expected.masks)
        np.testing.assert_array_equal(found.mask, expected.mask)

    def test_a_pixel_outside_the_image_is_refused(self, analysis):
        with pytest.raises(ValueError, match=r"no pixel \(36, 0\) in an image of 36 × 24"):
            analysis.explain(36, 0, "dog, grass")


class TestPartialAnalyses:
    @pytest.fixture
    def one_by_one(self, generator):
        """A segmenter that embeds one region at a time."""
        _, clip = list(make_clip().fallbacks())[-1]
        return make_segmenter(generator, clip)

    def test_the_first_has_all_masks_and_an_unlabelled_map(self, one_by_one):
        seen = []
        whole = one_by_one.analyze(random_image(), on_partial=seen.append)
        first = seen[0]
        assert first.proposals is whole.proposals
        assert first.regions.shape == whole.regions.shape
        assert not first.regions.any()
        assert stages(first) == [PROPOSING]
        for granularity in (0, 0.8, 1):
            segmentation = first.segment("dog, grass", granularity=granularity)
            assert (segmentation.label_map == -1).all()
            assert not segmentation.areas.any()
            assert not segmentation.scores.any()
            assert segmentation.explain(0, 0).name is None

    def test_each_labels_what_its_embedded_regions_cover(self, one_by_one):
        seen = []
        whole = one_by_one.analyze(random_image(), on_partial=seen.append)
        expected = whole.segment("dog, grass", granularity=0)
        assert [int(partial.regions.any(axis=1).sum()) for partial in seen] == [0, 1, 2, 3, 4, 5]
        for partial in seen:
            found = partial.segment("dog, grass", granularity=0)
            is_embedded = partial.regions.any(axis=1)
            np.testing.assert_array_equal(
                found.probabilities[is_embedded], expected.probabilities[is_embedded]
            )
            assert not found.probabilities[~is_embedded].any()
            covered = whole.proposals.masks[is_embedded].any(axis=0)
            np.testing.assert_array_equal(found.label_map >= 0, covered)
        assert_same_map(found, expected)

    def test_cached_regions_leave_the_first_alone(self, segmenter, analysis):
        seen = []
        again = segmenter.analyze(random_image(), on_partial=seen.append)
        assert len(seen) == 1
        assert not seen[0].regions.any()
        np.testing.assert_array_equal(again.regions, analysis.regions)

    def test_the_callback_may_stop_the_work(self, segmenter, generator):
        def stop(partial):
            raise Cancelled("stopped")

        with pytest.raises(Cancelled):
            segmenter.analyze(random_image(), on_partial=stop)
        assert cached_stages(segmenter.analyze(random_image())) == [PROPOSING]
        assert generator.calls == 1

    def test_no_masks_have_a_partial_analysis_too(self, clip):
        seen = []
        segmenter = make_segmenter(QuadrantGenerator(count=0), clip)
        segmenter.analyze(random_image(), on_partial=seen.append)
        assert seen[0].segment("a, b").label_map.shape == SIZE


# ---- suggestions


@pytest.fixture
def colours():
    """An analysis of a landscape by a model that knows colours."""
    candidates = ("red", "sky blue", "green", "yellow", "purple", "cat", "Wörter")
    return colour_segmenter(candidates=candidates).analyze(landscape())


def test_suggested_names_are_those_of_the_regions_the_largest_first(colours):
    suggestions = colours.suggest(4)
    assert [suggestion.name for suggestion in suggestions] == ["green", "sky blue", "red", "yellow"]
    scores = [suggestion.score for suggestion in suggestions]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[-1] < scores[0] <= 1
    assert [suggestion.name for suggestion in colours.suggest(1)] == ["green"]


def test_names_that_the_model_does_not_know_are_not_suggested(colours):
    names = [suggestion.name for suggestion in colours.suggest()]
    assert len(names) == 6, "all candidates but the unknown one"
    assert "Wörter" not in names
    assert colours.suggest(candidates=["Wörter"]) == ()


def test_other_candidates_can_be_given(colours):
    found = colours.suggest(candidates=("navy", "red", "lime", "red"))
    assert sorted(suggestion.name for suggestion in found) == ["lime", "navy", "red"]


def test_candidates_are_encoded_once(colours):
    log = Log()
    first = colours.suggest(progress=log)
    assert set(log.stages) == {ENCODING_NAMES}
    log.stages.clear()
    assert colours.suggest(progress=log) == first
    assert log.stages == []


def test_encoding_candidates_can_be_stopped(colours):
    with pytest.raises(Cancelled):
        colours.suggest(progress=Log(stop_at=ENCODING_NAMES))


def test_regions_that_are_not_embedded_yet_suggest_nothing(colours):
    assert replace(colours, regions=np.zeros_like(colours.regions)).suggest() == ()


@pytest.mark.parametrize("count", [0, -1, 101])
def test_only_a_sensible_number_of_names_is_suggested(colours, count):
    with pytest.raises(ModelError, match=f"{count} names cannot be suggested; ask for 1 to 100"):
        colours.suggest(count)


def test_a_model_of_a_closed_world_suggests_its_own_names():
    segmenter = load_segmenter("sticker-world", device="cpu")
    scene = render_scene(5_000_000, "validation", (160, 120))
    suggested = [one.name for one in segmenter.analyze(scene.image, generator="maskformer").suggest()]
    assert set(suggested) <= set(load_vocabulary("sticker-world").class_names)
    assert len(suggested) == 10


def test_pixels_below_the_least_score_stay_unlabelled(analysis):
    plain = analysis.segment("dog, grass / lawn, sky")
    shares = plain.score_map.label().shares
    least = float(np.median(shares[plain.label_map >= 0]))
    found = analysis.segment("dog, grass / lawn, sky", min_score=least)
    np.testing.assert_array_equal(found.label_map, np.where(shares < np.float32(least), -1, plain.label_map))
    assert found.areas.sum() == np.count_nonzero(found.label_map >= 0) < plain.areas.sum()

    one = analysis.segment("dog, grass / lawn, sky", min_score={"Dog": 1.0})
    is_dog = plain.label_map == 0
    np.testing.assert_array_equal(one.label_map[~is_dog], plain.label_map[~is_dog])
    assert (one.label_map[is_dog & (shares < 1)] == -1).all()

    y, x = np.argwhere(shares < np.float32(least))[0]
    explanation = found.explain(int(x), int(y))
    assert explanation.label == -1 and explanation.name == plain.explain(int(x), int(y)).name


def test_a_segmentation_knows_the_least_score_that_was_applied_to_each_class(analysis):
    one = analysis.segment("Dog, grass / lawn", min_score={"dog": 0.5})
    assert one.min_score == {"Dog": 0.5, "grass": 0.0}
    assert [one.least_score(name) for name in ("Dog", "dog", "grass")] == [0.5, 0.5, 0.0]
    assert analysis.segment("Dog, grass", min_score=0.25).least_score("Dog") == 0.25


@pytest.mark.parametrize("name", ["dgo", "lawn"])
def test_a_least_score_is_of_a_class(analysis, name):
    with pytest.raises(VocabularyError, match=f'min_score has a value for "{name}", which is no class'):
        analysis.segment("dog, grass / lawn", min_score={name: 0.5})


@pytest.mark.parametrize("min_score", [-0.1, 1.5, {"dog": 2}])
def test_a_least_score_is_a_share(analysis, min_score):
    with pytest.raises(ModelError, match="outside the range from 0 to 1"):
        analysis.segment("dog, sky", min_score=min_score)
