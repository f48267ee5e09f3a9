"""The sentences of the status line and the progress bar."""

from __future__ import annotations

from ovseg_demo.analysis import Analysis
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING, WAITING
from ovseg_demo.segmentation import Segmentation, Timing
from ovseg_demo.ui.background_task import Progress

LOADING = "Loading the model"
CANCELLED = "Cancelled · press Submit to analyze the image"
EXPIRED = "The analysis of this image was dropped to make room for others; press Submit to analyze it again."


def progress_label(progress: Progress, generator: str) -> str:
    """Return a label such as "Proposing masks 512 / 1,024 points"."""
    stage, done, total = progress.stage, progress.done, progress.total
    if stage == ENCODING_NAMES:
        return f"Encoding {_count(total, 'class name')}"
    if stage in (WAITING, LOADING) or total <= 1:
        return stage
    if stage.startswith(("Downloading", "Checking")):
        return f"{stage} {done / 1e6:,.0f} / {total / 1e6:,.0f} MB"
    unit = " points" if stage == PROPOSING and generator == "sam" else ""
    return f"{stage} {done:,} / {total:,}{unit}"


def progress_fraction(progress: Progress) -> float:
    """Return how much is done, from 0 to 1; −1 where that is unknown."""
    if progress.stage in (WAITING, LOADING) or progress.total <= 0:
        return -1.0
    return min(1.0, progress.done / progress.total)


def status_line(segmentation: Segmentation, analysis: Analysis | None = None) -> str:
    """Return what was done and the time it took, such as "118 masks in 9.1 s, 23 in use · 5 names in 30 ms".

    Args:
        segmentation: the map.
        analysis: its analysis, where the image was analyzed for this map.
    """
    of_analysis = _by_stage(analysis.timings if analysis is not None else ())
    of_map = _by_stage(segmentation.timings)
    masks = _count(len(segmentation.proposals), "mask")
    parts = [f"{masks}{_took(of_analysis.get(PROPOSING))}, {int(segmentation.kept.sum()):,} in use"]
    if EMBEDDING_REGIONS in of_analysis and not of_analysis[EMBEDDING_REGIONS].was_cached:
        parts.append(f"regions embedded{_took(of_analysis[EMBEDDING_REGIONS])}")
    names = _count(len(segmentation.vocabulary.all_names), "name")
    parts.append(f"{names}{_took(of_map[ENCODING_NAMES])}")
    parts.append(f"map drawn{_took(of_map[DRAWING])}")
    return " · ".join([*parts, *segmentation.notes])


def ready_line(analysis: Analysis) -> str:
    """Return what was done while there are no class names, such as "118 masks in 9.1 s · now type …"."""
    took = _took(_by_stage(analysis.timings)[PROPOSING])
    return f"{_count(len(analysis.proposals), 'mask')}{took} · now type the names of things"


def format_seconds(seconds: float) -> str:
    """Return a time with about two digits."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _by_stage(timings: tuple[Timing, ...]) -> dict[str, Timing]:
    return {timing.stage: timing for timing in timings}


def _took(timing: Timing | None) -> str:
    if timing is None:
        return ""
    return " from the cache" if timing.was_cached else f" in {format_seconds(timing.seconds)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
