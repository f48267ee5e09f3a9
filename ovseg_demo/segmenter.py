"""The two stages in order: from an image to an :class:`Analysis`, with the cache in front of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np

from ovseg_demo.analysis import Analysis, ClassNames, choose_rule, read_vocabulary
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, Rule
from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.errors import ImageError, ModelError
from ovseg_demo.images import ImageSource, load_image
from ovseg_demo.progress import EMBEDDING_REGIONS, PROPOSING, ProgressCallback, no_progress
from ovseg_demo.proposals.types import ProposalGenerator, Proposals
from ovseg_demo.runtime.caching import ByteCache, LazyModel, content_key
from ovseg_demo.runtime.out_of_memory import compute
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmentation import Segmentation, Timing, low_memory_note
from ovseg_demo.vocabulary import check_templates

T = TypeVar("T")

GENERATORS = ("sam", "maskformer", "detectron2")
"""The names of all proposal generators; a model has some of them."""

CLASSIFIERS = ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
"""The model's CLIP, the same without its mask prompts, and an un-adapted CLIP for comparison."""

PartialAnalysisCallback = Callable[[Analysis], None]
"""Called while an image is analyzed: once when its masks are there, and after each batch of regions."""


@dataclass(frozen=True, eq=False)
class Caches:
    """What segmenters remember, within two budgets of bytes; several segmenters may share one.

    Attributes:
        analyses: masks and region embeddings, by the content of the image.
        text_embeddings: by class name.
    """

    analyses: ByteCache = field(default_factory=lambda: ByteCache(512 * 2**20))
    text_embeddings: ByteCache = field(default_factory=lambda: ByteCache(64 * 2**20))


class Segmenter:
    """Segments images into any classes that have a name; one object serves many threads.

    :meth:`analyze` does what depends on the image and takes seconds; the :class:`Analysis` that it returns
    answers questions in milliseconds. :func:`ovseg_demo.load_segmenter` makes a segmenter from weights files.

    Args:
        generators: proposal generators by their name in :data:`GENERATORS`, the default first.
        clip: the classifier.
        unadapted_clip: a second classifier, for comparison.
        unavailable: for each generator and classifier that this model lacks, one sentence with the remedy.
        templates: the prompt templates to use where none are asked for.
        clip_weight: CLIP's share in :class:`EnsembleRule` where none is asked for, in [0, 1].
        caches: to be shared with other segmenters.
        text_embedding_cache: text embeddings kept between runs; ``None`` keeps none.
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
    ):
        classifiers = zip(CLASSIFIERS, (clip, clip, unadapted_clip), strict=True)
        self._generators = dict(generators)
        self._classifiers = {name: model for name, model in classifiers if model is not None}
        self._unavailable = dict(unavailable or {})
        self._templates = templates
        self._clip_weight = clip_weight
        self._caches = caches or Caches()
        self._text_embedding_cache = text_embedding_cache or TextEmbeddingCache(lists=tuple)

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
        """The prompt templates that are used where none are asked for."""
        return self._templates

    @property
    def caches(self) -> Caches:
        """What this segmenter remembers."""
        return self._caches

    @property
    def clip_weight(self) -> float:
        """CLIP's share λ in :class:`EnsembleRule` where none is asked for."""
        return self._clip_weight

    def fingerprint(self, *, generator: str | None = None, classifier: str = CLASSIFIERS[0]) -> str:
        """Return a hash of the weights and settings behind a result, equal in every process.

        Raises:
            ModelError: there is no such generator or classifier.
        """
        masks = self._generator(generator or self.generators[0])
        clip = self._classifier(classifier)
        parts = masks.key, masks.get().settings, clip.get().fingerprint, classifier
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def propose(
        self, image: ImageSource, *, generator: str | None = None, progress: ProgressCallback = no_progress
    ) -> Proposals:
        """Return the class-agnostic masks of an image: stage 1 alone, from the cache where it is there.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes it.
            generator: one of :attr:`generators`; ``None`` takes the first.
            progress: called while the work goes on; may stop it by raising.

        Raises:
            ImageError: the image cannot be used.
            ModelError: there is no such generator.
        """
        model = self._generator(generator or self.generators[0])
        return self._propose(_own_pixels(image), model, progress).masks.proposals

    def analyze(
        self,
        image: ImageSource,
        *,
        generator: str | None = None,
        classifier: str = CLASSIFIERS[0],
        progress: ProgressCallback = no_progress,
        on_partial: PartialAnalysisCallback | None = None,
    ) -> Analysis:
        """Return the masks of an image and their region embeddings: both stages, without class names.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes it.
            generator: one of :attr:`generators`; ``None`` takes the first.
            classifier: one of :attr:`classifiers`.
            progress: called while the work goes on; may stop it by raising.
            on_partial: called with an analysis of what is known so far.

        Raises:
            ImageError: the image cannot be used.
            ModelError: there is no such generator or classifier.
            DeviceError: memory is too small, also for smaller batches.
        """
        model = self._generator(generator or self.generators[0])
        self._classifier(classifier)  # a wrong name fails before the long work
        pixels = _own_pixels(image)
        stage = self._propose(pixels, model, progress)
        return self._classify(stage, classifier, progress, on_partial)

    def classify(
        self,
        image: ImageSource,
        proposals: Proposals,
        *,
        classifier: str = CLASSIFIERS[0],
        progress: ProgressCallback = no_progress,
    ) -> Analysis:
        """Return the analysis of an image with given masks: stage 2 alone, without the cache.

        Args:
            image: as :meth:`analyze` takes it.
            proposals: masks of this image, from any source.
            classifier: one of :attr:`classifiers`.
            progress: called while the work goes on; may stop it by raising.

        Raises:
            ImageError: the image cannot be used, or the masks were made for one of another size.
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
        classifier: str = CLASSIFIERS[0],
        rule: Rule | None = None,
        granularity: float | None = None,
        distractors: str | Sequence[str] = "",
        templates: str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Segmentation:
        """Return the label map of an image: :meth:`analyze`, then :meth:`Analysis.segment`.

        Args:
            image: as :meth:`analyze` takes it.
            names: as :meth:`Analysis.segment` takes them.
            generator: as :meth:`analyze` takes it; for an :class:`EnsembleRule` the default is "maskformer".
            classifier: as :meth:`analyze` takes it.
            rule: as :meth:`Analysis.segment` takes it.
            granularity: short for ``rule=GranularityRule(granularity)``.
            distractors: names that compete with the classes and are not drawn.
            templates: the prompt templates; ``None`` takes the model's own.
            progress: called while the work goes on; may stop it by raising.

        Raises:
            OvsegError: the image, the names or a setting cannot be used; the message names the remedy.
        """
        vocabulary = read_vocabulary(names, distractors)  # wrong settings fail before the long work
        rule = choose_rule(rule, granularity)
        check_templates(templates or self._templates)
        if generator is None and isinstance(rule, EnsembleRule):
            generator = "maskformer"
        analysis = self.analyze(image, generator=generator, classifier=classifier, progress=progress)
        segmentation = analysis.segment(vocabulary, rule=rule, templates=templates, progress=progress)
        return replace(segmentation, timings=(*analysis.timings, *segmentation.timings))

    def text_encoder(self, classifier: str = CLASSIFIERS[0]) -> TextEncoder:
        """Return what embeds class names for a classifier.

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
        self, image: np.ndarray, model: LazyModel[ProposalGenerator], progress: ProgressCallback
    ) -> _Stage1:
        def make() -> _Masks:
            found, fallback = compute(model, lambda propose: propose(image, progress=progress), progress)
            return _Masks.of(image, replace(found, fallback=fallback) if fallback else found)

        key = content_key(image), model.key, model.get().settings
        masks, timing = self._remember(PROPOSING, key, make, progress)
        return _Stage1(masks, key, (timing,))

    def _classify(
        self,
        stage: _Stage1,
        classifier: str,
        progress: ProgressCallback,
        on_partial: PartialAnalysisCallback | None = None,
    ) -> Analysis:
        model, proposals = self._classifier(classifier), stage.masks.proposals
        clip = model.get()
        mask_prompts = classifier == CLASSIFIERS[0] and clip.has_mask_prompts
        analysis = Analysis(
            image=stage.masks.image,
            proposals=proposals,
            partition=stage.masks.partition,
            regions=np.zeros((len(proposals), clip.width), np.float32),
            classifier=classifier,
            text_encoder=self.text_encoder(classifier),
            clip_weight=self._clip_weight,
            timings=stage.timings,
            notes=low_memory_note(PROPOSING, proposals.fallback),
        )

        def on_regions(embeddings: np.ndarray) -> None:
            if on_partial is not None:
                on_partial(replace(analysis, regions=embeddings))

        def make() -> _Regions:
            embeddings, fallback = compute(
                model,
                lambda clip: clip.embed_regions(
                    proposals, mask_prompts=mask_prompts, progress=progress, on_regions=on_regions
                ),
                progress,
                part="regions",
            )
            return _Regions(embeddings, fallback)

        on_regions(analysis.regions)
        key = stage.key and (stage.key, model.key, clip.fingerprint, mask_prompts)
        regions, timing = self._remember(EMBEDDING_REGIONS, key, make, progress)
        return replace(
            analysis,
            regions=regions.embeddings,
            timings=(*analysis.timings, timing),
            notes=(*analysis.notes, *low_memory_note(EMBEDDING_REGIONS, regions.fallback)),
        )

    def _remember(
        self, stage: str, key: Hashable | None, make: Callable[[], T], progress: ProgressCallback
    ) -> tuple[T, Timing]:
        """Return a stage's result, from the cache if it is there, and the time that it took."""
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
    """What the cache holds of stage 1."""

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
    """Masks on their way to stage 2; without a key their region embeddings are not cached."""

    masks: _Masks
    key: Hashable | None = None
    timings: tuple[Timing, ...] = ()


@dataclass(frozen=True, eq=False)
class _Regions:
    """What the cache holds of stage 2."""

    embeddings: np.ndarray
    fallback: str

    @property
    def nbytes(self) -> int:
        return self.embeddings.nbytes


def _own_pixels(source: ImageSource) -> np.ndarray:
    """Return the image; never the caller's array, which may be written into later."""
    pixels = load_image(source)
    return pixels.copy() if isinstance(source, np.ndarray) else pixels


def _check_size(image: np.ndarray, proposals: Proposals) -> None:
    height, width = proposals.image_size
    if image.shape[:2] != (height, width):
        raise ImageError(
            f"The image has {image.shape[1]}×{image.shape[0]} pixels, but the masks were made for one of "
            f"{width}×{height}; propose masks for this image."
        )
