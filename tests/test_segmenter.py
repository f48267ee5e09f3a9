import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule
from ovseg_demo.errors import Cancelled, ImageError, ModelError, VocabularyError
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING, no_progress
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


def random_image(seed=0, size=SIZE):
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
    generators = {generator.name: LazyModel(lambda: generator, key="weights")}
    return Segmenter(generators, LazyModel(lambda: clip, key="weights"), unadapted, **options)


def stages(result):
    """The stages that an analysis or a segmentation took."""
    return [timing.stage for timing in result.timings]


def cached_stages(result):
    return [timing.stage for timing in result.timings if timing.was_cached]


def test_a_result_has_all_parts(segmenter):
    image = random_image()
    segmentation = segmenter.segment(image, "dog, grass / lawn, tree,", distractors="sky")
    assert segmentation.class_names == ("dog", "grass", "tree")
    assert segmentation.label_map.shape == SIZE
    assert segmentation.label_map.dtype == np.int32
    assert segmentation.probabilities.shape == (5, 3)
    assert segmentation.kept.any()
    assert segmentation.areas.sum() == (segmentation.label_map >= 0).sum()
    assert stages(segmentation) == [PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES, DRAWING]
    assert (segmentation.rule, segmentation.classifier) == (GranularityRule(0.8), "mask-adapted")
    assert segmentation.templates == "vild"
    assert cached_stages(segmentation) == []
    np.testing.assert_array_equal(segmentation.image, image)


def test_files_pil_images_and_arrays_give_the_same(segmenter, tmp_path):
    image = random_image()
    Image.fromarray(image).save(tmp_path / "image.png")
    of_array = segmenter.segment(image, "a, b")
    for source in (tmp_path / "image.png", str(tmp_path / "image.png"), Image.fromarray(image)):
        segmentation = segmenter.segment(source, "a, b")
        np.testing.assert_array_equal(segmentation.label_map, of_array.label_map)
        assert PROPOSING in cached_stages(segmentation)


def test_another_granularity_only_draws(segmenter, generator):
    coarse, log = segmenter.segment(random_image(), "a, b, c", granularity=0), Log()
    precise = segmenter.segment(random_image(), "a, b, c", granularity=1, progress=log)
    assert log.stages == []
    assert cached_stages(precise) == [PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES]
    assert coarse.kept.sum() == 5
    assert precise.kept.sum() <= 3
    assert generator.calls == 1


def test_new_names_only_encode_the_new_ones(segmenter):
    before, log = segmenter.segment(random_image(), "a, b"), []
    after = segmenter.segment(random_image(), "b, c, a", progress=lambda *report: log.append(report))
    assert {(stage, total) for stage, _, total in log} == {(ENCODING_NAMES, 1)}
    assert cached_stages(after) == [PROPOSING, EMBEDDING_REGIONS]
    fresh = segmenter.segment(random_image(), "a, b")
    np.testing.assert_array_equal(fresh.probabilities, before.probabilities)


def test_cached_names_are_those_of_their_templates_and_classifier(segmenter, clip, unadapted_clip):
    for templates in ("vild", "photo"):
        for classifier, model in (("mask-adapted", clip), ("un-adapted", unadapted_clip)):
            probabilities = [
                segmenter.segment(
                    random_image(), "a, b", templates=templates, classifier=classifier
                ).probabilities
                for _ in range(2)
            ]
            fresh = make_segmenter(QuadrantGenerator(), model).segment(
                random_image(), "a, b", templates=templates
            )
            np.testing.assert_array_equal(probabilities[0], fresh.probabilities)
            np.testing.assert_array_equal(probabilities[1], fresh.probabilities)


def test_classifiers_are_compared_on_the_same_masks(segmenter, generator):
    results = [segmenter.segment(random_image(), "a, b", classifier=name) for name in segmenter.classifiers]
    assert segmenter.classifiers == ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
    assert generator.calls == 1
    probabilities = [result.probabilities for result in results]
    for first in range(3):
        for second in range(first):
            assert np.abs(probabilities[first] - probabilities[second]).max() > 1e-3


def test_a_clip_without_mask_prompts_embeds_its_regions_once(generator, unadapted_clip):
    segmenter = make_segmenter(generator, unadapted_clip)
    segmenter.segment(random_image(), "a, b")
    assert EMBEDDING_REGIONS in cached_stages(
        segmenter.segment(random_image(), "a, b", classifier="mask-adapted-no-prompts")
    )


def test_another_image_is_not_taken_for_the_first(segmenter, generator):
    first, second = (segmenter.segment(random_image(seed), "a, b") for seed in (0, 1))
    assert generator.calls == 2
    assert np.abs(first.probabilities - second.probabilities).max() > 1e-3


def test_what_a_caller_writes_into_the_image_later_does_not_matter(segmenter):
    image = random_image()
    first = segmenter.analyze(image)
    given_masks = segmenter.classify(image, first.proposals)
    image[:] = 0
    again = segmenter.analyze(random_image(), classifier="mask-adapted-no-prompts")
    assert PROPOSING in cached_stages(again)
    assert again.proposals is first.proposals
    for kept in (first.image, first.proposals.working_image, given_masks.image):
        np.testing.assert_array_equal(kept, random_image())


def test_segmenters_share_caches_but_not_across_settings_or_weights(clip, unadapted_clip):
    caches = Caches()
    first = make_segmenter(QuadrantGenerator(), clip, caches=caches)
    first.segment(random_image(), "a, b")
    same = make_segmenter(QuadrantGenerator(), clip, caches=caches).segment(random_image(), "a, b")
    assert cached_stages(same) == [PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES]
    other_settings = make_segmenter(QuadrantGenerator(("sam", 2), count=3), clip, caches=caches)
    assert len(other_settings.segment(random_image(), "a, b").proposals) == 3
    other_weights = make_segmenter(QuadrantGenerator(), unadapted_clip, caches=caches)
    assert cached_stages(other_weights.segment(random_image(), "a, b")) == [PROPOSING]


def test_full_caches_change_nothing_but_time(generator, clip):
    segmenter = make_segmenter(generator, clip, caches=Caches(ByteCache(0), ByteCache(0)))
    first, second = (segmenter.segment(random_image(), "a, b") for _ in range(2))
    assert cached_stages(second) == []
    np.testing.assert_array_equal(first.label_map, second.label_map)


def test_proposals_come_from_the_cache_of_analyses(segmenter, generator):
    proposals = segmenter.propose(random_image())
    analysis = segmenter.analyze(random_image())
    assert analysis.proposals is proposals
    assert cached_stages(analysis) == [PROPOSING]
    assert segmenter.propose(random_image()) is proposals
    assert generator.calls == 1


def test_frames_of_a_video_stay_out_of_the_caches(segmenter, generator):
    analyses = [segmenter.analyze(random_image(), keep=False) for _ in range(2)]
    assert [cached_stages(analysis) for analysis in analyses] == [[], []]
    assert generator.calls == 2
    assert segmenter.caches.analyses.nbytes == 0
    np.testing.assert_array_equal(analyses[0].regions, segmenter.analyze(random_image()).regions)


def test_the_cache_is_not_asked_for_frames_of_a_video(generator, clip):
    class NeverAsked(ByteCache):
        def get(self, key):
            raise AssertionError(f"asked for {key}")

    segmenter = make_segmenter(generator, clip, caches=Caches(analyses=NeverAsked(2**20)))
    assert len(segmenter.analyze(random_image(), keep=False).proposals) == 5


def test_masks_of_any_source_can_be_classified(segmenter, generator, clip):
    proposals = QuadrantGenerator(count=2)(random_image())
    analysis = segmenter.classify(random_image(), proposals)
    assert analysis.proposals is proposals
    assert stages(analysis) == [EMBEDDING_REGIONS]
    expected = clip.embed_regions(proposals).vectors @ clip.embed_names(["a", "b"], "vild").T
    named = analysis.segment("a, b").probabilities
    assert (named.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert generator.calls == 0


def test_given_masks_are_neither_taken_from_the_cache_nor_kept_there(clip):
    caches = Caches()
    segmenter = make_segmenter(QuadrantGenerator(), clip, caches=caches)
    proposals = segmenter.propose(random_image())
    held = caches.analyses.nbytes
    first, second = (segmenter.classify(random_image(), proposals) for _ in range(2))
    assert cached_stages(first) == cached_stages(second) == []
    assert caches.analyses.nbytes == held
    np.testing.assert_array_equal(first.regions, segmenter.analyze(random_image()).regions)


def test_given_masks_are_classified_by_the_chosen_classifier(segmenter):
    proposals = segmenter.propose(random_image())
    for name in segmenter.classifiers:
        analysis = segmenter.classify(random_image(), proposals, classifier=name)
        expected = segmenter.analyze(random_image(), classifier=name)
        assert analysis.classifier == expected.classifier == name
        np.testing.assert_array_equal(analysis.regions, expected.regions)


def test_masks_of_an_image_of_another_size_are_refused(segmenter):
    proposals = segmenter.propose(random_image(size=(24, 24)))
    with pytest.raises(ImageError, match="36×24 pixels, but the masks were made for one of 24×24"):
        segmenter.classify(random_image(), proposals)


def test_no_masks_are_an_empty_result(clip):
    segmentation = make_segmenter(QuadrantGenerator(count=0), clip).segment(random_image(), "a, b")
    assert (segmentation.label_map == -1).all()
    assert segmentation.probabilities.shape == (0, 2)


def test_a_single_class_competes_with_others(segmenter):
    segmentation = segmenter.segment(random_image(), "dog")
    assert segmentation.vocabulary.distractors == ("others",)
    assert segmentation.class_names == ("dog",)
    assert set(np.unique(segmentation.label_map)) <= {-1, 0}


def test_a_vocabulary_is_taken_as_it_is(segmenter):
    vocabulary = Vocabulary((ClassName("rock"), ClassName("rock", ("stone",))), ("sky",))
    segmentation = segmenter.segment(random_image(), vocabulary, templates="photo")
    assert segmentation.vocabulary is vocabulary
    assert segmentation.templates == "photo"
    with pytest.raises(VocabularyError, match="has its own distractors"):
        segmenter.segment(random_image(), vocabulary, distractors="wall")


class TestManyThreads:
    def test_the_same_question_at_once_is_computed_once(self, segmenter, generator):
        ready = threading.Barrier(6)

        def ask(_):
            ready.wait()
            return segmenter.segment(random_image(), "a, b")

        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(ask, range(6)))
        assert generator.calls == 1
        for result in results:
            np.testing.assert_array_equal(result.label_map, results[0].label_map)

    def test_different_images_and_names_are_not_mixed_up(self, generator, clip):
        questions = [(seed, names) for seed in range(4) for names in ("a, b", "c, d, e", "b, e")]
        alone = [
            make_segmenter(generator, clip).segment(random_image(seed), names) for seed, names in questions
        ]
        shared = make_segmenter(generator, clip)
        with ThreadPoolExecutor(6) as pool:
            together = list(
                pool.map(lambda question: shared.segment(random_image(question[0]), question[1]), questions)
            )
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
            assert one.class_names == other.class_names

    @pytest.mark.parametrize("stage", [PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES])
    def test_cancelled_work_leaves_the_caches_valid(self, segmenter, generator, clip, stage):
        with pytest.raises(Cancelled):
            segmenter.segment(random_image(), "a, b", progress=Log(stop_at=stage))
        order = [PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES]
        result = segmenter.segment(random_image(), "a, b")
        assert cached_stages(result) == order[: order.index(stage)]
        fresh = make_segmenter(QuadrantGenerator(), clip).segment(random_image(), "a, b")
        np.testing.assert_array_equal(result.label_map, fresh.label_map)


class TestEnsembleRule:
    @pytest.fixture(scope="class")
    def maskformer_segmenter(self, clip):
        generator = MaskFormerProposalGenerator(tiny_maskformer(), min_size=64, max_size=128)
        generators = {
            "sam": LazyModel(QuadrantGenerator),
            "maskformer": LazyModel(lambda: generator),
        }
        return Segmenter(generators, LazyModel(lambda: clip), clip_weight=0.4)

    def test_takes_maskformer_by_itself_and_every_mask(self, maskformer_segmenter):
        segmentation = maskformer_segmenter.segment(random_image(), "a, b, c", rule=EnsembleRule())
        assert segmentation.proposals.generator == "maskformer"
        assert segmentation.kept.all()
        assert (segmentation.label_map >= 0).all()

    def test_the_weight_is_the_models_unless_another_is_asked_for(self, maskformer_segmenter):
        own, same, other = (
            maskformer_segmenter.segment(random_image(), "a, b", rule=EnsembleRule(weight))
            for weight in (None, 0.4, 0.9)
        )
        assert own.rule == EnsembleRule(0.4)
        np.testing.assert_array_equal(own.probabilities, same.probabilities)
        assert np.abs(own.probabilities - other.probabilities).max() > 1e-3

    def test_a_weight_of_0_is_clip_alone(self, maskformer_segmenter):
        ensemble = maskformer_segmenter.segment(random_image(), "a, b", rule=EnsembleRule(0))
        clip_alone = maskformer_segmenter.segment(random_image(), "a, b", generator="maskformer")
        np.testing.assert_array_equal(ensemble.probabilities, clip_alone.probabilities)

    def test_hard_masks_are_refused(self, maskformer_segmenter):
        with pytest.raises(ModelError, match='needs the soft masks of "maskformer"; "sam" has hard masks'):
            maskformer_segmenter.segment(random_image(), "a, b", rule=EnsembleRule(), generator="sam")


class TestRefusals:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"generator": "mask2former"}, 'no proposal generator "mask2former"; choose one of sam'),
            (
                {"classifier": "blip"},
                'no classifier "blip"; choose one of mask-adapted, mask-adapted-no-prompts',
            ),
            ({"rule": "soft"}, "'soft' is not a rule; give a GranularityRule or an EnsembleRule"),
            ({"rule": GranularityRule(), "granularity": 0.5}, "Both a rule and a granularity were given"),
            ({"granularity": 1.5}, r"granularity 1\.5 is outside the range from 0"),
            ({"templates": "vlid"}, 'no prompt templates "vlid"; choose one of vild'),
        ],
    )
    def test_unknown_settings_are_refused_before_any_work(self, segmenter, generator, settings, message):
        log = Log()
        with pytest.raises(ModelError, match=message):
            segmenter.segment(random_image(), "a, b", progress=log, **settings)
        assert log.stages == []
        assert generator.calls == 0

    def test_what_a_model_lacks_is_refused_with_the_remedy(self, generator, clip):
        lacking = {
            "maskformer": "There is no MaskFormer; give ovseg=FILE.",
            "un-adapted": "Give unadapted=FILE.",
        }
        segmenter = make_segmenter(generator, clip, unavailable=lacking)
        assert segmenter.generators == ("sam",)
        with pytest.raises(ModelError, match=r"give ovseg=FILE\. Or choose one of sam"):
            segmenter.segment(random_image(), "a, b", generator="maskformer")
        with pytest.raises(ModelError, match=r"Give unadapted=FILE\. Or choose one of mask-adapted"):
            segmenter.segment(random_image(), "a, b", classifier="un-adapted")
        with pytest.raises(ModelError, match="give ovseg=FILE"):
            segmenter.segment(random_image(), "a, b", rule=EnsembleRule())

    def test_no_classes_are_refused(self, segmenter):
        with pytest.raises(VocabularyError, match="type at least one"):
            segmenter.segment(random_image(), " , ;")


class GridGenerator(QuadrantGenerator):
    """Proposes one of the masks at a grid of 1 point a side, two at 2 …, and notes the embeddings it gets."""

    def __init__(self, points_per_side=1, embeddings=None):
        super().__init__(settings=("sam", points_per_side), count=points_per_side)
        self.points_per_side = points_per_side
        self.embeddings = [] if embeddings is None else embeddings

    def with_points(self, points_per_side):
        return GridGenerator(points_per_side, self.embeddings)

    def fallbacks(self):
        return iter(())

    def __call__(self, image, *, progress=no_progress, embedding=None):
        self.embeddings.append(embedding)
        found = super().__call__(image, progress=progress)
        return replace(
            found, points_per_side=self.points_per_side, embedding=np.full((1, 1, 2, 2), image.mean())
        )


def test_another_grid_of_points_is_cached_by_itself_and_uses_the_embedding_again(clip):
    generator = GridGenerator()
    segmenter, image = make_segmenter(generator, clip), random_image()
    own = segmenter.analyze(image)
    finer = segmenter.analyze(image, points_per_side=4)
    assert (len(own.proposals), len(finer.proposals)) == (1, 4)
    assert generator.embeddings[0] is None and generator.embeddings[1] is own.proposals.embedding
    assert cached_stages(segmenter.analyze(image, points_per_side=4)) == [PROPOSING, EMBEDDING_REGIONS]
    assert cached_stages(segmenter.analyze(image, points_per_side=1)) == [PROPOSING, EMBEDDING_REGIONS]
    assert len(segmenter.propose(image, points_per_side=4)) == 4
    assert segmenter.segment(image, "a, b", points_per_side=4).proposals is finer.proposals
    segmenter.analyze(random_image(1), points_per_side=2)
    assert generator.embeddings[2:] == [None], "of another image, and not analyzed before"


@pytest.mark.parametrize("points", [0, 65, -1])
def test_a_grid_has_a_range(segmenter, generator, points):
    with pytest.raises(ModelError, match=f"grid of {points} points a side"):
        segmenter.analyze(random_image(), points_per_side=points)
    assert generator.calls == 0


def test_a_generator_without_a_grid_says_so(segmenter):
    with pytest.raises(ModelError, match="has no grid of points"):
        segmenter.segment(random_image(), "a, b", points_per_side=32)
