import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.errors import Cancelled, ImageError, ModelError, VocabularyError
from ovseg_demo.progress import DRAWING, ENCODING_NAMES, PROPOSING, READING_REGIONS, no_progress
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.caching import ByteCache, LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.vocabulary import ClassName, Vocabulary
from tests.tiny.clip import tiny_clip_tensors
from tests.tiny.maskformer import tiny_maskformer

SIZE = (24, 36)


class QuadrantGenerator:
    """Proposes the four quarters of an image and all below its diagonal, and counts how often it does."""

    name = "sam"

    def __init__(self, settings=("sam", 1), count=5):
        self.settings = settings
        self.count = count
        self.calls = 0

    def __call__(self, image, *, progress=no_progress):
        self.calls += 1
        progress(PROPOSING, 0, 1)
        time.sleep(0.01)  # long enough for others to come
        height, width = image.shape[:2]
        masks = np.zeros((5, height, width), bool)
        for mask, y, x in zip(masks, (0, 0, 1, 1), (0, 1, 0, 1), strict=False):
            mask[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2] = True
        masks[4] = np.tri(height, width, dtype=bool)
        progress(PROPOSING, 1, 1)
        scores = np.ones(self.count)
        return Proposals.from_masks(masks[: self.count], scores, image, image.shape[:2], self.name)


class Log:
    """A progress callback that notes the stages that work was done in, and may stop one of them."""

    def __init__(self, stop_at=None):
        self.stages = []
        self.stop_at = stop_at

    def __call__(self, stage, done, total):
        assert 0 <= done <= total
        if stage not in self.stages:
            self.stages.append(stage)
        if stage == self.stop_at:
            raise Cancelled("stopped")


def sample(seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def make_clip(**options):
    return MaskAdaptedClip.from_tensors(tiny_clip_tensors(**options), runtime=Runtime(torch.device("cpu")))


@pytest.fixture(scope="module")
def clip():
    return make_clip()


@pytest.fixture(scope="module")
def unadapted_clip():
    return make_clip(seed=1, mask_prompt_depth=0)


@pytest.fixture
def generator():
    return QuadrantGenerator()


@pytest.fixture
def segmenter(generator, clip, unadapted_clip):
    return make_segmenter(generator, clip, unadapted_clip)


def make_segmenter(generator, clip, unadapted_clip=None, **options):
    unadapted = None if unadapted_clip is None else LazyModel(lambda: unadapted_clip)
    networks = {generator.name: LazyModel(lambda: generator, key="weights")}
    return Segmenter(networks, LazyModel(lambda: clip, key="weights"), unadapted, **options)


def cached_stages(segmentation):
    return [step.stage for step in segmentation.steps if step.was_cached]


def test_regions_read_so_far_make_a_map(generator):
    _, clip = list(make_clip().fallbacks())[-1]  # reads them one by one
    segmenter = make_segmenter(generator, clip)
    seen = []
    result = segmenter.segment(sample(), "dog, grass", granularity=0, watch=seen.append)
    assert len(seen) == 5
    for regions in seen:
        so_far = segmenter.segment(sample(), "dog, grass", granularity=0, regions=regions)
        is_read = regions.any(axis=1)
        np.testing.assert_array_equal(so_far.probabilities[is_read], result.probabilities[is_read])
        assert not so_far.probabilities[~is_read].any()
        np.testing.assert_array_equal(so_far.label_map >= 0, result.proposals.masks[is_read].any(axis=0))
    np.testing.assert_array_equal(so_far.label_map, result.label_map)


def test_regions_that_were_read_before_are_not_watched(segmenter):
    segmenter.segment(sample(), "dog")
    seen = []
    segmenter.segment(sample(), "dog, grass", watch=seen.append)
    assert seen == []


def test_regions_of_other_masks_are_refused(segmenter):
    with pytest.raises(ModelError, match="There are 3 region embeddings for 5 masks"):
        segmenter.segment(sample(), "dog", regions=np.ones((3, 32), np.float32))


def test_a_result_has_all_parts(segmenter):
    image = sample()
    segmentation = segmenter.segment(image, "dog, grass / lawn, tree,", distractors="sky")
    assert segmentation.class_names == ("dog", "grass", "tree")
    assert segmentation.label_map.shape == SIZE
    assert segmentation.label_map.dtype == np.int32
    assert segmentation.probabilities.shape == (5, 3)
    assert segmentation.kept.any()
    assert segmentation.areas.sum() == (segmentation.label_map >= 0).sum()
    assert [step.stage for step in segmentation.steps] == [
        PROPOSING,
        READING_REGIONS,
        ENCODING_NAMES,
        DRAWING,
    ]
    assert cached_stages(segmentation) == []
    np.testing.assert_array_equal(segmentation.image, image)


def test_files_pil_images_and_arrays_give_the_same(segmenter, tmp_path):
    image = sample()
    Image.fromarray(image).save(tmp_path / "sample.png")
    of_array = segmenter.segment(image, "a, b")
    for source in (tmp_path / "sample.png", str(tmp_path / "sample.png"), Image.fromarray(image)):
        segmentation = segmenter.segment(source, "a, b")
        np.testing.assert_array_equal(segmentation.label_map, of_array.label_map)
        assert PROPOSING in cached_stages(segmentation)


def test_another_granularity_only_draws(segmenter, generator):
    coarse, log = segmenter.segment(sample(), "a, b, c", granularity=0), Log()
    precise = segmenter.segment(sample(), "a, b, c", granularity=1, progress=log)
    assert log.stages == []
    assert cached_stages(precise) == [PROPOSING, READING_REGIONS, ENCODING_NAMES]
    assert coarse.kept.sum() == 5
    assert precise.kept.sum() <= 3
    assert generator.calls == 1


def test_new_words_only_encode_the_new_ones(segmenter):
    before, log = segmenter.segment(sample(), "a, b"), []
    after = segmenter.segment(sample(), "b, c, a", progress=lambda *report: log.append(report))
    assert {(stage, total) for stage, _, total in log} == {(ENCODING_NAMES, 1)}
    assert cached_stages(after) == [PROPOSING, READING_REGIONS]
    fresh = segmenter.segment(sample(), "a, b")
    np.testing.assert_array_equal(fresh.probabilities, before.probabilities)


def test_remembered_words_are_those_of_their_templates_and_classifier(segmenter, clip, unadapted_clip):
    for templates in ("vild", "photo"):
        for classifier, network in (("mask-adapted", clip), ("un-adapted", unadapted_clip)):
            probabilities = [
                segmenter.segment(sample(), "a, b", templates=templates, classifier=classifier).probabilities
                for _ in range(2)
            ]
            fresh = make_segmenter(QuadrantGenerator(), network).segment(
                sample(), "a, b", templates=templates
            )
            np.testing.assert_array_equal(probabilities[0], fresh.probabilities)
            np.testing.assert_array_equal(probabilities[1], fresh.probabilities)


def test_classifiers_are_compared_on_the_same_masks(segmenter, generator):
    results = [segmenter.segment(sample(), "a, b", classifier=name) for name in segmenter.classifiers]
    assert segmenter.classifiers == ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
    assert generator.calls == 1
    probabilities = [result.probabilities for result in results]
    for first in range(3):
        for second in range(first):
            assert np.abs(probabilities[first] - probabilities[second]).max() > 1e-3


def test_a_clip_without_mask_prompts_reads_its_regions_once(generator, unadapted_clip):
    segmenter = make_segmenter(generator, unadapted_clip)
    segmenter.segment(sample(), "a, b")
    assert READING_REGIONS in cached_stages(
        segmenter.segment(sample(), "a, b", classifier="mask-adapted-no-prompts")
    )


def test_another_image_is_not_taken_for_the_first(segmenter, generator):
    first, second = (segmenter.segment(sample(seed), "a, b") for seed in (0, 1))
    assert generator.calls == 2
    assert np.abs(first.probabilities - second.probabilities).max() > 1e-3


def test_what_a_caller_does_to_his_image_later_does_not_matter(segmenter):
    image = sample()
    first = segmenter.segment(image, "a, b")
    image[:] = 0
    again = segmenter.segment(sample(), "a, b", classifier="mask-adapted-no-prompts")
    assert PROPOSING in cached_stages(again)
    np.testing.assert_array_equal(again.proposals.working_image, sample())
    assert again.proposals is first.proposals


def test_segmenters_share_caches_but_not_across_settings_or_weights(clip, unadapted_clip):
    caches = Caches()
    first = make_segmenter(QuadrantGenerator(), clip, caches=caches)
    first.segment(sample(), "a, b")
    same = make_segmenter(QuadrantGenerator(), clip, caches=caches).segment(sample(), "a, b")
    assert cached_stages(same) == [PROPOSING, READING_REGIONS, ENCODING_NAMES]
    other_settings = make_segmenter(QuadrantGenerator(("sam", 2), count=3), clip, caches=caches)
    assert len(other_settings.segment(sample(), "a, b").proposals) == 3
    other_weights = make_segmenter(QuadrantGenerator(), unadapted_clip, caches=caches)
    assert cached_stages(other_weights.segment(sample(), "a, b")) == [PROPOSING]


def test_full_caches_change_nothing_but_time(generator, clip):
    segmenter = make_segmenter(generator, clip, caches=Caches(ByteCache(0), ByteCache(0)))
    first, second = (segmenter.segment(sample(), "a, b") for _ in range(2))
    assert cached_stages(second) == []
    np.testing.assert_array_equal(first.label_map, second.label_map)


def test_proposals_can_be_had_first_and_named_later(segmenter, generator):
    proposals = segmenter.propose(sample())
    segmentation = segmenter.segment(sample(), "a, b", proposals=proposals)
    assert segmentation.proposals is proposals
    assert [step.stage for step in segmentation.steps] == [READING_REGIONS, ENCODING_NAMES, DRAWING]
    assert cached_stages(segmenter.segment(sample(), "a, b")) == [PROPOSING, READING_REGIONS, ENCODING_NAMES]
    assert generator.calls == 1


def test_masks_of_any_other_source_can_be_named(segmenter, clip):
    proposals = QuadrantGenerator(count=2)(sample())
    segmentation = segmenter.segment(sample(), "a, b", proposals=proposals)
    expected = clip.embed_regions(proposals) @ clip.embed_names(["a", "b"], "vild").T
    assert (segmentation.probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()
    equal = QuadrantGenerator(count=2)(sample())
    assert READING_REGIONS in cached_stages(segmenter.segment(sample(), "a, b", proposals=equal))


def test_masks_of_an_image_of_another_size_are_refused(segmenter):
    proposals = segmenter.propose(sample(size=(24, 24)))
    with pytest.raises(ImageError, match="36×24 pixels, but the proposals were made for one of 24×24"):
        segmenter.segment(sample(), "a, b", proposals=proposals)


def test_no_masks_are_an_empty_result(clip):
    segmentation = make_segmenter(QuadrantGenerator(count=0), clip).segment(sample(), "a, b")
    assert (segmentation.label_map == -1).all()
    assert segmentation.probabilities.shape == (0, 2)


def test_a_single_class_competes_with_others(segmenter):
    segmentation = segmenter.segment(sample(), "dog")
    assert segmentation.vocabulary.distractors == ("others",)
    assert segmentation.class_names == ("dog",)
    assert set(np.unique(segmentation.label_map)) <= {-1, 0}


def test_a_vocabulary_is_taken_as_it_is(segmenter):
    vocabulary = Vocabulary((ClassName("rock"), ClassName("rock", ("stone",))), ("sky",), "photo")
    assert segmenter.segment(sample(), vocabulary).vocabulary is vocabulary
    with pytest.raises(VocabularyError, match="brings its own distractors and templates"):
        segmenter.segment(sample(), vocabulary, templates="vild")


class TestManyVisitors:
    def test_the_same_question_at_once_is_computed_once(self, segmenter, generator):
        ready = threading.Barrier(6)

        def ask(_):
            ready.wait()
            return segmenter.segment(sample(), "a, b")

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(ask, range(6)))
        assert generator.calls == 1
        for result in results:
            np.testing.assert_array_equal(result.label_map, results[0].label_map)

    def test_different_images_and_words_are_not_mixed_up(self, generator, clip):
        questions = [(seed, names) for seed in range(4) for names in ("a, b", "c, d, e", "b, e")]
        alone = [make_segmenter(generator, clip).segment(sample(seed), names) for seed, names in questions]
        shared = make_segmenter(generator, clip)
        with ThreadPoolExecutor(6) as pool:
            together = list(
                pool.map(lambda question: shared.segment(sample(question[0]), question[1]), questions)
            )
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
            assert one.class_names == other.class_names

    @pytest.mark.parametrize("stage", [PROPOSING, READING_REGIONS, ENCODING_NAMES])
    def test_who_leaves_leaves_the_caches_valid(self, segmenter, generator, clip, stage):
        with pytest.raises(Cancelled):
            segmenter.segment(sample(), "a, b", progress=Log(stop_at=stage))
        order = [PROPOSING, READING_REGIONS, ENCODING_NAMES]
        result = segmenter.segment(sample(), "a, b")
        assert cached_stages(result) == order[: order.index(stage)]
        fresh = make_segmenter(QuadrantGenerator(), clip).segment(sample(), "a, b")
        np.testing.assert_array_equal(result.label_map, fresh.label_map)


class TestSoftRule:
    @pytest.fixture(scope="class")
    def maskformer_segmenter(self, clip):
        generator = MaskFormerProposalGenerator(tiny_maskformer(), min_size=64, max_size=128)
        networks = {
            "sam": LazyModel(QuadrantGenerator),
            "maskformer": LazyModel(lambda: generator),
        }
        return Segmenter(networks, LazyModel(lambda: clip), ensemble_weight=0.4)

    def test_takes_maskformer_by_itself_and_every_mask(self, maskformer_segmenter):
        segmentation = maskformer_segmenter.segment(sample(), "a, b, c", rule="soft")
        assert segmentation.proposals.generator == "maskformer"
        assert segmentation.kept.all()
        assert (segmentation.label_map >= 0).all()

    def test_the_weight_is_the_models_unless_another_is_asked_for(self, maskformer_segmenter):
        own, same, other = (
            maskformer_segmenter.segment(sample(), "a, b", rule="soft", ensemble_weight=weight)
            for weight in (None, 0.4, 0.9)
        )
        np.testing.assert_array_equal(own.probabilities, same.probabilities)
        assert np.abs(own.probabilities - other.probabilities).max() > 1e-3

    def test_a_weight_of_0_is_clip_alone(self, maskformer_segmenter):
        soft = maskformer_segmenter.segment(sample(), "a, b", rule="soft", ensemble_weight=0)
        hard = maskformer_segmenter.segment(sample(), "a, b", generator="maskformer")
        np.testing.assert_array_equal(soft.probabilities, hard.probabilities)

    def test_hard_masks_have_no_soft_rule(self, maskformer_segmenter):
        with pytest.raises(ModelError, match='needs soft masks, those of "maskformer"; "sam" has hard ones'):
            maskformer_segmenter.segment(sample(), "a, b", rule="soft", generator="sam")


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"generator": "mask2former"}, 'no proposal generator "mask2former"; choose one of sam'),
            (
                {"classifier": "blip"},
                'no classifier "blip"; choose one of mask-adapted, mask-adapted-no-prompts',
            ),
            ({"rule": "hard"}, 'no rule "hard"; choose one of granularity, soft'),
            ({"granularity": 1.5}, r"granularity 1\.5 is outside the range from 0"),
            ({"templates": "imagenet"}, 'no prompt templates "imagenet"; choose one of vild'),
        ],
    )
    def test_unknown_settings_are_refused_before_any_work(self, segmenter, generator, settings, message):
        log = Log()
        with pytest.raises(ModelError, match=message):
            segmenter.segment(sample(), "a, b", progress=log, **settings)
        assert log.stages == []
        assert generator.calls == 0

    def test_what_a_model_lacks_is_told_with_the_remedy(self, generator, clip):
        lacking = {
            "maskformer": "There is no MaskFormer; give ovseg=FILE.",
            "un-adapted": "Give unadapted=FILE.",
        }
        segmenter = make_segmenter(generator, clip, unavailable=lacking)
        assert segmenter.generators == ("sam",)
        with pytest.raises(ModelError, match=r"give ovseg=FILE\. Or choose one of sam"):
            segmenter.segment(sample(), "a, b", generator="maskformer")
        with pytest.raises(ModelError, match=r"Give unadapted=FILE\. Or choose one of mask-adapted"):
            segmenter.segment(sample(), "a, b", classifier="un-adapted")
        with pytest.raises(ModelError, match="give ovseg=FILE"):
            segmenter.segment(sample(), "a, b", rule="soft")

    def test_no_classes_are_refused(self, segmenter):
        with pytest.raises(VocabularyError, match="type at least one"):
            segmenter.segment(sample(), " , ;")
