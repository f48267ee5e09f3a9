"""The two stages in order, with the caches between them."""

from __future__ import annotations

import hashlib
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.labeling import check_granularity, class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import Drawing, draw_by_granularity, draw_softly
from ovseg_demo.errors import ImageError, ModelError, VocabularyError
from ovseg_demo.images import ImageSource, load_image
from ovseg_demo.progress import (
    DRAWING,
    ENCODING_NAMES,
    PROPOSING,
    READING_REGIONS,
    ProgressCallback,
    RegionWatcher,
    no_progress,
)
from ovseg_demo.proposals.types import ProposalGenerator, Proposals
from ovseg_demo.runtime.caching import ByteCache, LazyModel, content_key
from ovseg_demo.runtime.out_of_memory import compute
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmentation import Segmentation, Step
from ovseg_demo.vocabulary import Vocabulary

T = TypeVar("T")

GENERATORS = ("sam", "maskformer", "detectron2")
"""Every proposal generator; a model has some of them."""

CLASSIFIERS = ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
"""The model's CLIP, the same without its mask prompts, and an un-adapted CLIP for comparison."""

RULES = ("granularity", "soft")
"""How a label map is drawn: from the hard masks that the granularity keeps, named by CLIP (the demo); or from
all soft masks of MaskFormer, named by MaskFormer and CLIP together (the evaluation)."""


@dataclass(frozen=True, eq=False)
class Caches:
    """What segmenters remember; several may share one.

    Attributes:
        images: proposals, their cells and their region embeddings.
        names: text embeddings.
    """

    images: ByteCache = field(default_factory=lambda: ByteCache(512 * 2**20))
    names: ByteCache = field(default_factory=lambda: ByteCache(64 * 2**20))


class Segmenter:
    """Segments images into any classes that have a name; one object serves many threads.

    What takes long is remembered: new class names cost their text embeddings, another granularity nothing but
    milliseconds. :func:`ovseg_demo.load_segmenter` makes one from weights files.

    Args:
        generators: proposal generators by their name in :data:`GENERATORS`, the default first.
        clip: the classifier.
        unadapted_clip: another one, for comparison.
        unavailable: what to do about generators and classifiers that this model lacks: a sentence for each.
        templates: prompt templates to use where none are asked for.
        ensemble_weight: CLIP's share in the rule "soft" where none is asked for.
        caches: to be shared with other segmenters.
        text_embedding_cache: text embeddings that are kept between runs; ``None`` keeps none.
    """

    def __init__(
        self,
        generators: Mapping[str, LazyModel[ProposalGenerator]],
        clip: LazyModel[MaskAdaptedClip],
        unadapted_clip: LazyModel[MaskAdaptedClip] | None = None,
        *,
        unavailable: Mapping[str, str] | None = None,
        templates: str = "vild",
        ensemble_weight: float = 0.7,
        caches: Caches | None = None,
        text_embedding_cache: TextEmbeddingCache | None = None,
    ):
        networks = zip(CLASSIFIERS, (clip, clip, unadapted_clip), strict=True)
        self._generators = dict(generators)
        self._classifiers = {name: network for name, network in networks if network is not None}
        self._unavailable = dict(unavailable or {})
        self._templates = templates
        self._ensemble_weight = ensemble_weight
        self._caches = caches or Caches()
        self._text_embedding_cache = text_embedding_cache or TextEmbeddingCache(lists=tuple)
        self._keys: weakref.WeakKeyDictionary[Proposals, Hashable] = weakref.WeakKeyDictionary()
        self._keys_lock = threading.Lock()

    @property
    def generators(self) -> tuple[str, ...]:
        """Names of the proposal generators that can be asked for, the default first."""
        return tuple(self._generators)

    @property
    def classifiers(self) -> tuple[str, ...]:
        """Names of the classifiers that can be asked for, the default first."""
        return tuple(self._classifiers)

    @property
    def templates(self) -> str:
        """The prompt templates that are used where none are asked for."""
        return self._templates

    @property
    def ensemble_weight(self) -> float:
        """CLIP's share λ in the rule "soft" where none is asked for."""
        return self._ensemble_weight

    def fingerprint(self, *, generator: str | None = None, classifier: str = CLASSIFIERS[0]) -> str:
        """Tells the weights and settings behind a result from all others, in other processes too.

        Raises:
            ModelError: there is no such generator or classifier.
        """
        masks = self._find("proposal generator", self._generators, generator or self.generators[0])
        clip = self._find("classifier", self._classifiers, classifier)
        parts = masks.key, masks.get().settings, clip.get().fingerprint, classifier
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def propose(
        self, image: ImageSource, *, generator: str | None = None, progress: ProgressCallback = no_progress
    ) -> Proposals:
        """Stage 1 by itself: class-agnostic masks, remembered by the image's content.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes.
            generator: one of :attr:`generators`; ``None`` takes the first.
            progress: told how far the work is; may stop it by raising.

        Raises:
            ImageError: the image cannot be used.
            ModelError: there is no such generator.
        """
        return self._propose(load_image(image), generator or self.generators[0], progress)[0]

    def segment(
        self,
        image: ImageSource,
        classes: str | Sequence[str] | Vocabulary,
        *,
        generator: str | None = None,
        proposals: Proposals | None = None,
        regions: np.ndarray | None = None,
        granularity: float = 0.8,
        distractors: str | Sequence[str] = "",
        templates: str | None = None,
        classifier: str = CLASSIFIERS[0],
        rule: str = RULES[0],
        ensemble_weight: float | None = None,
        trained_classes: Sequence[bool] | None = None,
        progress: ProgressCallback = no_progress,
        watch: RegionWatcher | None = None,
    ) -> Segmentation:
        """Propose masks, name them, and draw the label map.

        Args:
            image: a file, PIL image or array, as :func:`ovseg_demo.images.load_image` takes.
            classes: as :meth:`Vocabulary.parse` reads them; or a vocabulary, which brings its own distractors
                and templates.
            generator: one of :attr:`generators`; ``None`` takes the first, or the one that ``rule`` needs.
            proposals: masks of this image to name instead, from :meth:`propose` or any other source.
            regions: embeddings of the masks to name instead, float32 (N, D) as ``watch`` is shown them; masks
                whose row is 0 take no part.
            granularity: from 0 (coarse: all masks) to 1 (precise: the one best mask of each class).
            distractors: names that compete with the classes and are not drawn.
            templates: of the prompts; ``None`` takes the model's own.
            classifier: one of :attr:`classifiers`.
            rule: one of :data:`RULES`; "soft" needs MaskFormer's proposals, and reads no granularity.
            ensemble_weight: for "soft": CLIP's share λ in [0, 1]; 0 is CLIP alone, ``None`` the model's own.
            trained_classes: for "soft": which of the K classes the proposal model was trained on (SimSeg).
            progress: told how far the work is; may stop it by raising.
            watch: shown the region embeddings as they grow, where they are not remembered.

        Raises:
            OvsegError: the image, the names or the settings cannot be used; the message tells the remedy.
        """
        if rule not in RULES:
            raise ModelError(f'There is no rule "{rule}"; choose one of {", ".join(RULES)}.')
        check_granularity(granularity)
        clip = self._find("classifier", self._classifiers, classifier)
        vocabulary = self._read_vocabulary(classes, distractors, templates)
        pixels = load_image(image)
        steps = _Steps()
        if proposals is None:
            generator = generator or ("maskformer" if rule == "soft" else self.generators[0])
            proposals = steps.take(PROPOSING, lambda: self._propose(pixels, generator, progress))
        _check_size(pixels, proposals)
        uses_prompts = classifier == CLASSIFIERS[0]
        steps.note(PROPOSING, proposals.fallback)
        if regions is None:
            regions = steps.take(
                READING_REGIONS,
                lambda: self._embed_regions(clip, proposals, uses_prompts, progress, watch, steps.note),
            )
        elif len(regions) != len(proposals):
            raise ModelError(
                f"There are {len(regions)} region embeddings for {len(proposals)} masks; give each a row."
            )
        names = steps.take(ENCODING_NAMES, lambda: self._embed_names(clip, vocabulary, progress, steps.note))

        def draw() -> tuple[Drawing, bool]:
            of_regions = class_probabilities(regions, names, vocabulary)
            of_regions[~regions.any(axis=1)] = 0
            if rule == "soft":
                weight = self._ensemble_weight if ensemble_weight is None else ensemble_weight
                return draw_softly(proposals, of_regions, names, vocabulary, weight, trained_classes), False
            cells = self._partition(proposals)
            class_count = len(vocabulary.classes)
            return draw_by_granularity(proposals, cells, of_regions, class_count, granularity), False

        drawing = steps.take(DRAWING, draw)
        return Segmentation.of(pixels, vocabulary, proposals, drawing, steps.taken, steps.notes)

    def _read_vocabulary(
        self,
        classes: str | Sequence[str] | Vocabulary,
        distractors: str | Sequence[str],
        templates: str | None,
    ) -> Vocabulary:
        if not isinstance(classes, Vocabulary):
            return Vocabulary.parse(classes, distractors=distractors, templates=templates or self._templates)
        if distractors or templates:
            raise VocabularyError(
                "A Vocabulary brings its own distractors and templates; make one with those."
            )
        return classes

    def _propose(
        self, image: np.ndarray, generator: str, progress: ProgressCallback
    ) -> tuple[Proposals, bool]:
        network = self._find("proposal generator", self._generators, generator)

        def make() -> Proposals:
            pixels = image.copy()  # the caller may write into his own
            found, fallback = compute(network, lambda propose: propose(pixels, progress=progress), progress)
            return replace(found, fallback=fallback) if fallback else found

        key = "proposals", content_key(image), network.key, network.get().settings
        proposals, was_cached = self._caches.images.get_or_make(key, make, progress)
        with self._keys_lock:
            self._keys[proposals] = key
        return proposals, was_cached

    def _embed_regions(
        self,
        network: LazyModel[MaskAdaptedClip],
        proposals: Proposals,
        uses_prompts: bool,
        progress: ProgressCallback,
        watch: RegionWatcher | None,
        note: Callable[[str, str], None],
    ) -> tuple[np.ndarray, bool]:
        clip = network.get()
        mask_prompts = uses_prompts and clip.has_mask_prompts

        def make() -> np.ndarray:
            embeddings, fallback = compute(
                network,
                lambda clip: clip.embed_regions(
                    proposals, mask_prompts=mask_prompts, progress=progress, watch=watch
                ),
                progress,
                part="regions",
            )
            note(READING_REGIONS, fallback)
            return embeddings

        key = "regions", self._key_of(proposals), network.key, clip.fingerprint, mask_prompts
        return self._caches.images.get_or_make(key, make, progress)

    def _embed_names(
        self,
        network: LazyModel[MaskAdaptedClip],
        vocabulary: Vocabulary,
        progress: ProgressCallback,
        note: Callable[[str, str], None],
    ) -> tuple[np.ndarray, bool]:
        key = network.key, network.get().fingerprint, vocabulary.templates
        names = vocabulary.all_names

        def look_up() -> dict[str, np.ndarray | None]:
            return {name: self._caches.names.get((*key, name)) for name in names}

        def complete(clip: MaskAdaptedClip) -> dict[str, np.ndarray]:
            embeddings = look_up()  # others may have added some meanwhile
            missing = [name for name, embedding in embeddings.items() if embedding is None]
            text_key = clip.text_key(vocabulary.templates)
            added = self._text_embedding_cache.read(text_key, names, missing)
            missing = [name for name in missing if name not in added]
            encoded = clip.embed_names(missing, vocabulary.templates, progress=progress)
            # Copies, as a view would keep all the others in memory.
            added |= {name: row.copy() for name, row in zip(missing, encoded, strict=True)}
            for name, embedding in added.items():
                self._caches.names.put((*key, name), embedding)
            embeddings |= added
            if missing:
                self._text_embedding_cache.write(text_key, embeddings)
            return embeddings

        embeddings = look_up()
        was_cached = all(embedding is not None for embedding in embeddings.values())
        if not was_cached:
            embeddings, fallback = compute(network, complete, progress, part="names")
            note(ENCODING_NAMES, fallback)
        return np.stack([embeddings[name] for name in names]), was_cached

    def _partition(self, proposals: Proposals) -> MaskPartition:
        key = "cells", self._key_of(proposals)
        return self._caches.images.get_or_make(key, lambda: MaskPartition.of(proposals))[0]

    def _key_of(self, proposals: Proposals) -> Hashable:
        """What tells proposals from others: where they come from, or else their content."""
        with self._keys_lock:
            key = self._keys.get(proposals)
            if key is None:
                key = self._keys[proposals] = content_key(proposals.packed_masks, proposals.working_image)
        return key

    def _find(self, kind: str, networks: Mapping[str, LazyModel[T]], name: str) -> LazyModel[T]:
        if name in networks:
            return networks[name]
        choices = f"choose one of {', '.join(networks)}"
        if name in self._unavailable:
            raise ModelError(f"{self._unavailable[name]} Or {choices}.")
        raise ModelError(f'There is no {kind} "{name}"; {choices}.')


class _Steps:
    """Does steps, and notes how long each took, if its result was cached, and what was fallback."""

    def __init__(self) -> None:
        self.taken: list[Step] = []
        self.notes: list[str] = []

    def note(self, stage: str, fallback: str) -> None:
        """Note what was fallback, if anything."""
        if fallback:
            self.notes.append(f"{stage}: {fallback}, as the GPU's memory was too small")

    def take(self, stage: str, work: Callable[[], tuple[T, bool]]) -> T:
        start = time.perf_counter()
        result, was_cached = work()
        self.taken.append(Step(stage, time.perf_counter() - start, was_cached))
        return result


def _check_size(image: np.ndarray, proposals: Proposals) -> None:
    height, width = proposals.image_size
    if image.shape[:2] != (height, width):
        raise ImageError(
            f"The image has {image.shape[1]}×{image.shape[0]} pixels, but the proposals were made for one of "
            f"{width}×{height}; propose masks for this image."
        )
