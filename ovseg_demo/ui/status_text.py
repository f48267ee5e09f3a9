"""What the page says while it works and when it is done."""

from __future__ import annotations

from ovseg_demo.progress import DRAWING, ENCODING_NAMES, PROPOSING, READING_REGIONS, WAITING
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import Segmentation, Step
from ovseg_demo.ui.background_task import Progress

LOADING = "Loading the model"
CANCELLED = "Cancelled · Submit looks again"


def progress_label(progress: Progress, generator: str) -> str:
    """Such as "Proposing masks 512 / 1,024 points"."""
    stage, done, total = progress.stage, progress.done, progress.total
    if stage == ENCODING_NAMES:
        return f"Encoding {_count(total, 'new word')}"
    if stage in (WAITING, LOADING) or total <= 1:
        return stage
    if stage.startswith(("Downloading", "Checking")):
        return f"{stage} {done / 1e6:,.0f} / {total / 1e6:,.0f} MB"
    unit = " points" if stage == PROPOSING and generator == "sam" else ""
    return f"{stage} {done:,} / {total:,}{unit}"


def progress_fraction(progress: Progress) -> float:
    """From 0 to 1; −1 where nobody knows."""
    if progress.stage in (WAITING, LOADING) or progress.total <= 0:
        return -1.0
    return min(1.0, progress.done / progress.total)


def status_line(segmentation: Segmentation, proposing: Step | None = None) -> str:
    """What was done and what it took, such as "118 masks in 9.1 s, 23 in use · 5 words in 30 ms · …".

    Args:
        segmentation: with the steps on the way to it.
        proposing: the step that proposed the masks, where that was done beforehand.
    """
    steps = {step.stage: step for step in (*segmentation.steps, *([proposing] if proposing else []))}
    masks = _count(len(segmentation.proposals), "mask")
    parts = [f"{masks}{_took(steps[PROPOSING])}, {int(segmentation.kept.sum()):,} in use"]
    if not steps[READING_REGIONS].was_cached:
        parts.append(f"read{_took(steps[READING_REGIONS])}")
    words = _count(len(segmentation.vocabulary.all_names), "word")
    parts.append(f"{words}{_took(steps[ENCODING_NAMES])}")
    parts.append(f"map drawn{_took(steps[DRAWING])}")
    return " · ".join([*parts, *segmentation.notes])


def ready_line(proposals: Proposals, proposing: Step) -> str:
    """What was done while there are no words yet, such as "118 masks in 9.1 s · now type some words"."""
    return f"{_count(len(proposals), 'mask')}{_took(proposing)} · now type the names of things"


def format_seconds(seconds: float) -> str:
    """To two digits or so."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def _took(step: Step) -> str:
    return " from the cache" if step.was_cached else f" in {format_seconds(step.seconds)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_size(size: int) -> str:
    """Bytes as people read them; 0 means that nobody knows."""
    if not size:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
