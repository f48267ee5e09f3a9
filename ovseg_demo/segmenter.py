"""The segmenter: runs the two stages that analyze an image, and caches their results."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ovseg_demo.analysis import Analysis, ClassNames, choose_rule, read_vocabulary
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, Rule
from ovseg_demo.classification.suggestions import Candidate
from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.classification.types import RegionClassifier, RegionEmbeddings
from ovseg_demo.errors import ImageError, ModelError
from ovseg_demo.images import ImageSource, load_image
from ovseg_demo.progress import (
    EMBEDDING_REGIONS,
    HASHING,
    PROPOSING,
    ProgressCallback,
    RegionsCallback,
    no_progress,
)
from ovseg_demo.proposals.types import GridProposalGenerator, MaskPrompt, ProposalGenerator, Proposals
from ovseg_demo.runtime.caching import ByteCache, LazyModel, content_key
from ovseg_demo.runtime.file_digests import file_digest
from ovseg_demo.runtime.out_of_memory import compute
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmentation import Segmentation, Timing, low_memory_note, small_masks_note
from ovseg_demo.vocabularies.class_lists import suggestion_candidates
from ovseg_demo.vocabulary import check_templates

T = TypeVar("T")

GENERATORS = ("sam", "maskformer", "detectron2")
"""The names of all proposal generators; a model has one or more of them."""

CLASSIFIERS = ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
"""The model's CLIP, the same CLIP without mask prompts, and an un-adapted CLIP for comparison."""

MOST_POINTS_PER_SIDE = 64
"""The largest grid of points for Segment Anything that can be asked for."""

PartialAnalysisCallback = Callable[[Analysis], None]
"""Called during an analysis: once when the masks are known, and after each batch of region embeddings."""


@dataclass(frozen=True, eq=False)
class Caches:
    """The caches of one or more segmenters, each with a budget in bytes.

    Attributes:
        analyses: masks and region embeddings, by the content of the image.
        text_embeddings: text embeddings, by class name.
    """

    analyses: ByteCache = field(default_factory=lambda: ByteCache(512 * 2**20))
    text_embeddings: ByteCache = field(default_factory=lambda: ByteCache(64 * 2**20))


class Segmenter:
    """Segments images into classes that the user names; many threads can use one segmenter.

    :meth:`analyze` does the work that depends on the image alone, in seconds. The :class:`Analysis` that it
    returns computes label maps in milliseconds. :func:`ovseg_demo.load_segmenter` makes a segmenter from
    weights files.

    Args:
        generators: the proposal generators by name, one of :data:`GENERATORS`; the default comes first.
        clip: the classifier.
        unadapted_clip: a second classifier, for comparison.
        unavailable: for each generator and classifier that the model lacks, one sentence with the remedy.
        templates: the default prompt templates.
        clip_weight: CLIP's exponent λ in [0, 1], for an :class:`EnsembleRule` without one.
        caches: caches to share with other segmenters; by default new ones.
        text_embedding_cache: the cache of text embeddings on disk; ``None`` means no such cache.
        candidates: the names that :meth:`Analysis.suggest` ranks; ``None`` means those of
            :func:`ovseg_demo.vocabularies.class_lists.suggestion_candidates`.
    """

    def __init__(
        self,
        generators: Mapping[str, LazyModel[ProposalGenerator]],
        clip: LazyModel[RegionClassifier],
        unadapted_clip: LazyModel[RegionClassifier] | None = None,
        *,
        unavailable: Mapping[str, str] | None = None,
        templates: str = "vild",
        clip_weight: float = 0.7,
        caches: Caches | None = None,
        text_embedding_cache: TextEmbeddingCache | None = None,
        candidates: Sequence[Candidate] | None = None,
    ):
        classifiers = zip(CLASSIFIERS, (clip, clip, unadapted_clip), strict=True)
        self._generators = dict(generators)
        self._classifiers = {name: model for name, model in classifiers if model is not None}
        self._unavailable = dict(unavailable or {})
        self._templates = templates
        self._clip_weight = clip_weight
        self._caches = caches or Caches()
        self._text_embedding_cache = text_embedding_cache or TextEmbeddingCache(lists=tuple)
        self._candidates = suggestion_candidates() if candidates is None else tuple(candidates)

    @property
    def generators(self) -> tuple[str, ...]:
        """The names of the proposal generators that this model has, the default first."""
        return tuple(self._generators)

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The names of the classifiers that this model has, the default first."""
        return tuple(self._classifiers)

    @property
    def templates(self) -> str:
        """The name of the default prompt templates."""
        return self._templates

    @property
    def caches(self) -> Caches:
        """The caches of this segmenter."""
        return self._caches

    @property
    def clip_weight(self) -> float:
        """CLIP's exponent λ for an :class:`EnsembleRule` without one."""
        return self._clip_weight

    def fingerprint(
        self,
        *,
        generator: str | None = None,
        classifier: str = CLASSIFIERS[0],
        progress: ProgressCallback = no_progress,
    ) -> str:
        """Return a hash of the weights and settings that determine a result.

        The weights count by the content of their files, so the hash is equal on every machine, wherever they
        lie. The first call reads the files, which takes seconds for some gigabytes.

        Args:
            generator: one of :attr:`generators`; ``None`` means the first.
            classifier: one of :attr:`classifiers`.
            progress: called before each file that is read.

        Raises:
            ModelError: there is no such generator or classifier.
            OSError: a file cannot be read any more.
        """
        masks = self._generator(generator or self.generators[0])
        clip = self._classifier(classifier)
        digests: dict[Path, str] = dict.fromkeys((*masks.files, *clip.files), "")
        for number, path in enumerate(digests):
            progress(HASHING, number, len(digests))
            digests[path] = file_digest(path)
        weights = (masks.runtime, *map(digests.get, masks.files)) if masks.files else masks.key
        of_clip = clip.get().fingerprint, *map(digests.get, clip.files)
        parts = weights, masks.get().settings, of_clip, classifier
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def propose(
        self,
        image: ImageSource,
        *,
        generator: str | None = None,
        points_per_side: int | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Proposals:
        """Return the class-agnostic masks of an image: the result of stage 1 alone, cached.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes it.
            generator: one of :attr:`generators`; ``None`` means the first.
            points_per_side: of the grid of Segment Anything, from 1 to 64; ``None`` takes the model's.
            progress: called during the work; it may stop the work by raising an exception.

        Raises:
            ImageError: the image is not valid.
            ModelError: there is no such generator, or it has no such grid.
        """
        model = self._generator(generator or self.generators[0])
        _check_points(points_per_side)
        return self._propose(_own_pixels(image), model, points_per_side, progress).masks.proposals

    def analyze(
        self,
        image: ImageSource,
        *,
        generator: str | None = None,
        points_per_side: int | None = None,
        classifier: str = CLASSIFIERS[0],
        progress: ProgressCallback = no_progress,
        on_partial: PartialAnalysisCallback | None = None,
        keep: bool = True,
    ) -> Analysis:
        """Return the masks of an image and their region embeddings: the results of both stages, cached.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes it.
            generator: one of :attr:`generators`; ``None`` means the first.
            points_per_side: of the grid of points of Segment Anything, from 1 to 64; more points find smaller
                things and take longer. ``None`` means the model's own. Where the same image was analyzed with
                those, its image embedding is used again.
            classifier: one of :attr:`classifiers`.
            progress: called during the work; it may stop the work by raising an exception.
            on_partial: called with an analysis that has the region embeddings known so far.
            keep: whether the caches are read and keep the results. ``False`` is for frames of a video: none
                comes twice, and together they would push all other analyses out.

        Raises:
            ImageError: the image is not valid.
            ModelError: there is no such generator or classifier, or the generator has no such grid of points.
            DeviceError: memory is too small, even for smaller batches.
        """
        model = self._generator(generator or self.generators[0])
        self._classifier(classifier)  # so that a wrong name fails before the long work
        _check_points(points_per_side)
        pixels = _own_pixels(image)
        stage = self._propose(pixels, model, points_per_side, progress, keep)
        return self._classify(stage, classifier, progress, on_partial)

    def classify(
        self,
        image: ImageSource,
        proposals: Proposals,
        *,
        classifier: str = CLASSIFIERS[0],
        progress: ProgressCallback = no_progress,
    ) -> Analysis:
        """Return the analysis of an image with given masks: the result of stage 2 alone, not cached.

        Args:
            image: a file, PIL image or array, as :meth:`analyze` takes it.
            proposals: masks of this image, from any source.
            classifier: one of :attr:`classifiers`.
            progress: called during the work; it may stop the work by raising an exception.

        Raises:
            ImageError: the image is not valid, or the masks were made for an image of another size.
            ModelError: there is no such classifier.
        """
        pixels = _own_pixels(image)
        _check_size(pixels, proposals)
        return self._classify(_Stage1(_Masks.of(pixels, proposals)), classifier, progress)

    def segment(
        self,
        image: ImageSource,
        names: ClassNames,
        *,
        generator: str | None = None,
        points_per_side: int | None = None,
        classifier: str = CLASSIFIERS[0],
        rule: Rule | None = None,
        granularity: float | None = None,
        distractors: str | Sequence[str] = "",
        templates: str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Segmentation:
        """Return the label map of an image: :meth:`analyze`, then :meth:`Analysis.segment`.

        Args:
            image: a file, PIL image or array, as :meth:`analyze` takes it.
            names: class names or a vocabulary, as :meth:`Analysis.segment` takes them.
            generator: one of :attr:`generators`; ``None`` means "maskformer" for an :class:`EnsembleRule`,
                otherwise the first.
            points_per_side: as :meth:`analyze` takes it.
            classifier: one of :attr:`classifiers`.
            rule: the rule that computes the map from the masks; by default :class:`GranularityRule`.
            granularity: short for ``rule=GranularityRule(granularity)``.
            distractors: names that compete with the classes and are not drawn.
            templates: the prompt templates; ``None`` means the model's default.
            progress: called during the work; it may stop the work by raising an exception.

        Raises:
            OvsegError: the image, the names or a setting is not valid; the message names the remedy.
        """
        # Check the settings first, so that wrong ones fail before the long work.
        vocabulary = read_vocabulary(names, distractors)
        rule = choose_rule(rule, granularity)
        check_templates(templates or self.templates)
        if generator is None and isinstance(rule, EnsembleRule):
            generator = "maskformer"
        analysis = self.analyze(
            image,
            generator=generator,
            points_per_side=points_per_side,
            classifier=classifier,
            progress=progress,
        )
        segmentation = analysis.segment(vocabulary, rule=rule, templates=templates, progress=progress)
        return replace(segmentation, timings=(*analysis.timings, *segmentation.timings))

    def mask_at(self, analysis: Analysis, prompt: MaskPrompt) -> np.ndarray:
        """Return the mask that Segment Anything finds for points or a box: bool (H, W), in milliseconds.

        ``Correction.of(mask, name)`` names it.

        Args:
            analysis: of an image, by this segmenter and the generator "sam".
            prompt: points and box, in pixels of the image.

        Raises:
            ModelError: the model has no Segment Anything, or another generator proposed the masks.
        """
        model = self._generator("sam")
        embedding = analysis.proposals.embedding
        if embedding is None:
            raise ModelError(
                "A mask at a point needs the image embedding of Segment Anything; analyze the image with "
                'the generator "sam".'
            )
        size = analysis.image.shape[:2]
        mask, _ = compute(model, lambda sam: sam.mask_at(embedding, size, prompt), part="prompts")
        return mask

    def text_encoder(self, classifier: str = CLASSIFIERS[0]) -> TextEncoder:
        """Return the text encoder of a classifier.

        Raises:
            ModelError: there is no such classifier.
        """
        return TextEncoder(
            self._classifier(classifier),
            self._templates,
            self._caches.text_embeddings,
            self._text_embedding_cache,
        )

    def _propose(
        self,
        image: np.ndarray,
        model: LazyModel[ProposalGenerator],
        points_per_side: int | None,
        progress: ProgressCallback,
        keep: bool = True,
    ) -> _Stage1:
        own = model.get()
        chosen = own if points_per_side is None else _with_points(own, points_per_side)
        source = (content_key(image), model.key) if keep else None
        key = source and (*source, chosen.settings)

        def make() -> _Masks:
            embedding = None
            if source is not None and points_per_side is not None:
                embedding = self._embedding((*source, own.settings))

            def propose(generator: ProposalGenerator) -> Proposals:
                if points_per_side is None:
                    return generator(image, progress=progress)
                finer = _with_points(generator, points_per_side)
                return finer(image, progress=progress, embedding=embedding)

            found, fallback = compute(model, propose, progress)
            return _Masks.of(image, replace(found, fallback=fallback) if fallback else found)

        masks, timing = self._remember(PROPOSING, key, make, progress)
        return _Stage1(masks, key, (timing,))

    def _embedding(self, key: Hashable) -> np.ndarray | None:
        """Return the image embedding of cached masks, if they are there and were made at full size."""
        masks = self._caches.analyses.get(key)
        return None if masks is None or masks.proposals.fallback else masks.proposals.embedding

    def _classify(
        self,
        stage: _Stage1,
        classifier: str,
        progress: ProgressCallback,
        on_partial: PartialAnalysisCallback | None = None,
    ) -> Analysis:
        model = self._classifier(classifier)
        clip = model.get()
        mask_prompts = classifier == CLASSIFIERS[0] and clip.has_mask_prompts
        analysis = self._without_regions(stage, classifier, clip)

        def on_regions(embeddings: np.ndarray) -> None:
            if on_partial is not None:
                on_partial(replace(analysis, regions=embeddings))

        def make() -> _Regions:
            return _embed_regions(model, analysis.proposals, mask_prompts, progress, on_regions)

        on_regions(analysis.regions)
        key = stage.key and (stage.key, model.key, clip.fingerprint, mask_prompts)
        regions, timing = self._remember(EMBEDDING_REGIONS, key, make, progress)
        return _with_regions(analysis, regions, timing)

    def _without_regions(self, stage: _Stage1, classifier: str, clip: RegionClassifier) -> Analysis:
        """Return the analysis of an image of which no region is embedded yet."""
        proposals = stage.masks.proposals
        return Analysis(
            image=stage.masks.image,
            proposals=proposals,
            partition=stage.masks.partition,
            regions=np.zeros((len(proposals), clip.width), np.float32),
            classifier=classifier,
            text_encoder=self.text_encoder(classifier),
            logit_scale=clip.logit_scale,
            clip_weight=self._clip_weight,
            candidates=self._candidates,
            timings=stage.timings,
            notes=low_memory_note(PROPOSING, proposals.fallback),
        )

    def _remember(
        self, stage: str, key: Hashable | None, make: Callable[[], T], progress: ProgressCallback
    ) -> tuple[T, Timing]:
        """Return a stage's result and its timing; the result comes from the cache if it is there."""
        start = time.perf_counter()
        was_made = []

        def note_and_make() -> T:
            was_made.append(True)
            return make()

        if key is None:
            result = note_and_make()
        else:
            result = self._caches.analyses.get_or_make(key, note_and_make, progress)
        return result, Timing(stage, time.perf_counter() - start, was_cached=not was_made)

    def _generator(self, name: str) -> LazyModel[ProposalGenerator]:
        return self._find("proposal generator", self._generators, name)

    def _classifier(self, name: str) -> LazyModel[RegionClassifier]:
        return self._find("classifier", self._classifiers, name)

    def _find(self, what: str, available: Mapping[str, LazyModel[T]], name: str) -> LazyModel[T]:
        if name in available:
            return available[name]
        choices = f"choose one of {', '.join(available)}"
        if name in self._unavailable:
            raise ModelError(f"{self._unavailable[name]} Or {choices}.")
        raise ModelError(f'There is no {what} "{name}"; {choices}.')


@dataclass(frozen=True, eq=False)
class _Masks:
    """The cached result of stage 1."""

    image: np.ndarray
    proposals: Proposals
    partition: MaskPartition

    @classmethod
    def of(cls, image: np.ndarray, proposals: Proposals) -> _Masks:
        return cls(image, proposals, MaskPartition.of(proposals))

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.proposals.nbytes + self.partition.nbytes


class _Stage1(NamedTuple):
    """The input of stage 2; without a key, the region embeddings are not cached."""

    masks: _Masks
    key: Hashable | None = None
    timings: tuple[Timing, ...] = ()


@dataclass(frozen=True, eq=False)
class _Regions:
    """The cached result of stage 2."""

    embeddings: RegionEmbeddings
    fallback: str

    @property
    def nbytes(self) -> int:
        return self.embeddings.nbytes


def _embed_regions(
    model: LazyModel[RegionClassifier],
    proposals: Proposals,
    mask_prompts: bool,
    progress: ProgressCallback,
    on_regions: RegionsCallback,
) -> _Regions:
    def embed(clip: RegionClassifier) -> RegionEmbeddings:
        return clip.embed_regions(
            proposals, mask_prompts=mask_prompts, progress=progress, on_regions=on_regions
        )

    return _Regions(*compute(model, embed, progress, part="regions"))


def _with_regions(analysis: Analysis, regions: _Regions, timing: Timing) -> Analysis:
    """Return a complete analysis: one without regions, and these."""
    return replace(
        analysis,
        regions=regions.embeddings.vectors,
        adaptation=regions.embeddings.adaptation,
        timings=(*analysis.timings, timing),
        notes=(
            *analysis.notes,
            *low_memory_note(EMBEDDING_REGIONS, regions.fallback),
            *small_masks_note(len(regions.embeddings.small)),
        ),
    )


def _check_points(points_per_side: int | None) -> None:
    if points_per_side is not None and not 1 <= points_per_side <= MOST_POINTS_PER_SIDE:
        raise ModelError(
            f"A grid of {points_per_side} points a side was asked for; choose 1 to {MOST_POINTS_PER_SIDE}."
        )


def _with_points(generator: ProposalGenerator, points_per_side: int) -> GridProposalGenerator:
    if not isinstance(generator, GridProposalGenerator):
        raise ModelError(
            f'The proposal generator "{generator.name}" has no grid of points; leave out points_per_side, or '
            'choose the generator "sam".'
        )
    return generator.with_points(points_per_side)


def _own_pixels(source: ImageSource) -> np.ndarray:
    """Return the image. An array is copied, because the caller may change it later."""
    pixels = load_image(source)
    return pixels.copy() if isinstance(source, np.ndarray) else pixels


def _check_size(image: np.ndarray, proposals: Proposals) -> None:
    height, width = proposals.image_size
    if image.shape[:2] != (height, width):
        raise ImageError(
            f"The image has {image.shape[1]}×{image.shape[0]} pixels, but the masks were made for one of "
            f"{width}×{height}; propose masks for this image."
        )
