"""What analyses take on this machine, from those that it made before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ovseg_demo.progress import EMBEDDING_REGIONS, PROPOSING
from ovseg_demo.segmentation import Timing


class Kind(NamedTuple):
    """What the time of an analysis depends on most.

    Attributes:
        model: the name of the model.
        generator: the proposal generator.
        points_per_side: of Segment Anything's grid; 0 for the model's own, and for other generators.
        classifier: the classifier.
    """

    model: str
    generator: str
    points_per_side: int
    classifier: str


class AnalysisCosts:
    """The newest seconds of each stage by kind. Many threads may use one object.

    It holds one entry for each kind that was analyzed, and there are few.

    Args:
        published: returns the seconds that the catalogue names for a kind; 0 where it names none. Only their
            ratios count.
    """

    def __init__(self, published: Callable[[Kind], float] = lambda kind: 0):
        self._published = published
        self._proposing: dict[Kind, float] = {}
        self._embedding: dict[Kind, float] = {}
        self._lock = threading.Lock()

    def note(self, kind: Kind, timings: Sequence[Timing], points_per_side: int | None = None) -> None:
        """Note what an analysis took; a stage that came from the cache says nothing.

        Args:
            kind: of the analysis.
            timings: of its stages.
            points_per_side: of the grid at which Segment Anything was asked.
        """
        kinds = {kind, kind._replace(points_per_side=points_per_side or 0)}
        with self._lock:
            for timing in timings:
                seconds = {PROPOSING: self._proposing, EMBEDDING_REGIONS: self._embedding}.get(timing.stage)
                if seconds is None or timing.was_cached:
                    continue
                for one in kinds:
                    seconds.pop(one, None)  # the newest come last
                    seconds[one] = timing.seconds

    def estimate(self, kind: Kind, known_masks: Kind | None = None) -> float | None:
        """Return about how many seconds an analysis will take; ``None`` where nothing similar was measured.

        Each stage takes what it took the last time, or what it took for another kind of the same model, times
        the ratio of their points. Otherwise, the analysis takes what the newest one took, times the ratio of
        the catalogue's figures.

        Args:
            kind: of the analysis.
            known_masks: the kind of an analysis of the same image. If it has the same masks, they cost
                nothing.
        """
        with self._lock:
            embedding = _similar(self._embedding, kind, _classifier_ratio)
            if known_masks is not None and _masks_of(known_masks) == _masks_of(kind):
                return embedding
            proposing = _similar(self._proposing, kind, _grid_ratio)
            if proposing is None or embedding is None:
                return self._by_catalogue(kind)
            return proposing + embedding

    def _by_catalogue(self, kind: Kind) -> float | None:
        wanted = self._published(kind)
        for other in reversed(self._proposing):
            known = self._published(other)
            if wanted and known and other in self._embedding:
                return (self._proposing[other] + self._embedding[other]) * wanted / known
        return None


def _similar(
    seconds: dict[Kind, float], kind: Kind, ratio: Callable[[Kind, Kind], float | None]
) -> float | None:
    """Return the seconds of a kind, or else those of the newest similar one, times their ratio."""
    if kind in seconds:
        return seconds[kind]
    for other in reversed(seconds):
        if (factor := ratio(kind, other)) is not None:
            return factor * seconds[other]
    return None


def _masks_of(kind: Kind) -> tuple[str, str, int]:
    return kind.model, kind.generator, kind.points_per_side


def _classifier_ratio(kind: Kind, other: Kind) -> float | None:
    """Return 1 for two kinds of one model, whose classifiers are alike; otherwise ``None``."""
    return 1 if kind.model == other.model else None


def _grid_ratio(kind: Kind, other: Kind) -> float | None:
    """Return the ratio of two grids of the same network, if it is known; otherwise ``None``."""
    if (kind.model, kind.generator) != (other.model, other.generator):
        return None
    if kind.points_per_side and other.points_per_side:
        return (kind.points_per_side / other.points_per_side) ** 2
    return 1 if kind.points_per_side == other.points_per_side else None
