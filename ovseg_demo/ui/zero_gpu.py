"""Hugging Face's ZeroGPU, which lends a GPU to one call at a time. Its Spaces have the package ``spaces``.

A lent call runs in a forked process, which may serve later calls too. Arguments and results are pickled; the
model and its caches live there. A call can neither report progress nor be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.images import ImageSource
from ovseg_demo.progress import WAITING, ProgressCallback, no_progress
from ovseg_demo.proposals.types import MaskPrompt
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmenter import CLASSIFIERS, Caches, PartialAnalysisCallback, Segmenter

SECONDS = 120
"""The longest time of a call. An analysis takes a few seconds; the first call also loads the model."""


def is_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Return whether this is a Space with a lent GPU, by the variable that Hugging Face sets there."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


def lending(load: Callable[..., Segmenter]) -> Callable[..., LentSegmenter]:
    """Return a function that loads segmenters for lent GPUs, made from one that loads segmenters."""
    on_cpu = {"device": "cpu", "precision": "auto"}  # the precision that was asked for is the GPU's
    return lambda *arguments, **options: LentSegmenter(
        load(*arguments, **{**options, **on_cpu}), lambda: load(*arguments, **options)
    )


class LentSegmenter:
    """Has a :class:`Segmenter`'s interface; a second segmenter does its work on a lent GPU.

    Args:
        here: answers what the model has; its networks are never built.
        load: makes the segmenter that works, in the process with the GPU.
    """

    def __init__(self, here: Segmenter, load: Callable[[], Segmenter]):
        import spaces

        there = LazyModel(load)

        def work(method: str, arguments: tuple, options: Mapping[str, Any]) -> Any:
            return _WORK[method](there.get(), *arguments, **options)

        self._here = here
        self._work = spaces.GPU(duration=SECONDS)(work)
        self._encoders = {name: self._encoder(name) for name in here.classifiers}

    @property
    def generators(self) -> tuple[str, ...]:
        """As :attr:`Segmenter.generators`."""
        return self._here.generators

    @property
    def classifiers(self) -> tuple[str, ...]:
        """As :attr:`Segmenter.classifiers`."""
        return self._here.classifiers

    @property
    def templates(self) -> str:
        """As :attr:`Segmenter.templates`."""
        return self._here.templates

    @property
    def caches(self) -> Caches:
        """As :attr:`Segmenter.caches`; only text embeddings are cached in this process."""
        return self._here.caches

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
        """Analyze as :meth:`Segmenter.analyze` does; call ``on_partial`` once, with the whole analysis."""
        progress(WAITING, 0, 1)
        options = {
            "generator": generator,
            "points_per_side": points_per_side,
            "classifier": classifier,
            "keep": keep,
        }
        found = self._work("analyze", (image,), options)
        analysis = replace(found, text_encoder=self._encoders[classifier])
        if on_partial is not None:
            on_partial(analysis)
        return analysis

    segment = Segmenter.segment

    def mask_at(self, analysis: Analysis, prompt: MaskPrompt) -> np.ndarray:
        """Return a mask as :meth:`Segmenter.mask_at` does; each mask takes a call of its own."""
        return self._work("mask_at", (replace(analysis, text_encoder=None), prompt), {})

    def _encoder(self, classifier: str) -> TextEncoder:
        model = LazyModel(lambda: _LentTextTower(self._work, classifier), key=("lent", classifier))
        memory = self._here.caches.text_embeddings
        return TextEncoder(model, self._here.templates, memory, TextEmbeddingCache(lists=tuple))


class _LentTextTower:
    """The part of a :class:`RegionClassifier` that embeds names, on a lent GPU."""

    def __init__(self, work: Callable[[str, tuple, Mapping[str, Any]], Any], classifier: str):
        self.fingerprint = classifier
        self._work = work
        self._classifier = classifier

    def embed_names(
        self, names: Sequence[str], templates: str, *, progress: ProgressCallback = no_progress
    ) -> np.ndarray:
        progress(WAITING, 0, 1)
        return self._work("encode", (self._classifier, tuple(names), templates), {})

    def obstacles(self, names: Sequence[str], templates: str) -> dict[str, str]:
        """Return no name: to ask for them would take the GPU a second time for each request."""
        return {}

    def text_key(self, templates: str) -> str:
        return f"{self._classifier} {templates}"

    def fallbacks(self) -> Iterator[tuple[str, RegionClassifier]]:
        return iter(())


def _analyze_there(segmenter: Segmenter, *arguments: Any, **options: Any) -> Analysis:
    """Return an analysis that can be pickled."""
    return replace(segmenter.analyze(*arguments, **options), text_encoder=None)


def _encode_there(segmenter: Segmenter, classifier: str, names: Sequence[str], templates: str) -> np.ndarray:
    return segmenter.text_encoder(classifier).encode(names, templates).vectors


_WORK = MappingProxyType({"analyze": _analyze_there, "encode": _encode_there, "mask_at": Segmenter.mask_at})
