"""Hugging Face's ZeroGPU, which lends a GPU to one call at a time; its package ``spaces`` is there alone.

A lent call runs in a process that is forked for it and may live on for the next one: what goes in and out is
pickled, the model is loaded there, and so are its caches. Progress cannot be told, nor a call be cancelled or
watched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ovseg_demo.progress import WAITING, ProgressCallback, RegionWatcher, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import Segmenter

SECONDS = 120
"""So long a call may take; a first look takes a few seconds, and the first of all loads the model."""


def is_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Whether this is a Space that is lent its GPU, as the variable that Hugging Face sets there tells."""
    return environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


def lending(load: Callable[..., Segmenter]) -> Callable[..., LentSegmenter]:
    """Turn what loads segmenters into what loads them for lent GPUs."""
    return lambda *arguments, **options: LentSegmenter(
        load(*arguments, **{**options, "device": "cpu"}), lambda: load(*arguments, **options)
    )


class LentSegmenter:
    """Has a :class:`Segmenter`'s face; its work is done by another one, on a lent GPU.

    Args:
        here: tells what can be asked for; its networks are never built.
        load: makes the one that works, when it is there.
    """

    def __init__(self, here: Segmenter, load: Callable[[], Segmenter]):
        import spaces

        there = LazyModel(load)

        def work(method: str, arguments: tuple, options: Mapping[str, Any]) -> Any:
            return getattr(there.get(), method)(*arguments, **options)

        self._here = here
        self._work = spaces.GPU(duration=SECONDS)(work)

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

    def propose(self, *arguments: Any, progress: ProgressCallback = no_progress, **options: Any) -> Proposals:
        """As :meth:`Segmenter.propose`."""
        progress(WAITING, 0, 1)
        return self._work("propose", arguments, options)

    def segment(
        self,
        *arguments: Any,
        progress: ProgressCallback = no_progress,
        watch: RegionWatcher | None = None,
        **options: Any,
    ) -> Segmentation:
        """As :meth:`Segmenter.segment`, but there is nothing to watch: results come when the call is done."""
        progress(WAITING, 0, 1)
        return self._work("segment", arguments, options)
