"""The sentences of the status line and the progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ovseg_demo.analysis import Analysis
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING, WAITING, WRITING
from ovseg_demo.segmentation import Segmentation, Timing
from ovseg_demo.ui.background_task import Progress
from ovseg_demo.ui.language.texts import Texts

LOADING = "Loading the model"
"""The stage while a model's weights are read; beside those of :mod:`ovseg_demo.progress`."""

_STAGES: Mapping[str, str] = MappingProxyType(
    {
        LOADING: "progress.loading",
        WAITING: "progress.waiting",
        PROPOSING: "progress.proposing",
        EMBEDDING_REGIONS: "progress.embedding_regions",
        DRAWING: "progress.drawing",
        WRITING: "progress.writing",
    }
)
_DOWNLOAD_STAGES: Mapping[str, str] = MappingProxyType(
    {
        "Downloading ": "progress.downloading",
        "Checking ": "progress.checking",
        "Waiting for ": "progress.waiting_for",
    }
)
"""Beginnings of stages, which a file's name ends."""


def progress_label(progress: Progress, generator: str, texts: Texts) -> str:
    """Return a label such as "Proposing masks 512 / 1,024 points"."""
    stage, done, total = progress.stage, progress.done, progress.total
    if stage == ENCODING_NAMES:
        return texts.count("progress.encoding", total)
    label = _stage_label(stage, texts)
    if stage in (WAITING, LOADING) or total <= 1:
        return label
    if stage.startswith(tuple(_DOWNLOAD_STAGES)):
        return f"{label} {done / 1e6:,.0f} / {total / 1e6:,.0f} MB"
    unit = f" {texts['progress.points']}" if stage == PROPOSING and generator == "sam" else ""
    return f"{label} {done:,} / {total:,}{unit}"


def progress_fraction(progress: Progress) -> float:
    """Return how much is done, from 0 to 1; −1 where that is unknown."""
    if progress.stage in (WAITING, LOADING) or progress.total <= 0:
        return -1.0
    return min(1.0, progress.done / progress.total)


def status_line(segmentation: Segmentation, texts: Texts, analysis: Analysis | None = None) -> str:
    """Return what was done and the time it took, such as "118 masks in 9.1 s, 23 in use · 5 names in 30 ms".

    Args:
        segmentation: the map.
        texts: of the page.
        analysis: its analysis, where the image was analyzed for this map.
    """
    of_analysis = _by_stage(analysis.timings if analysis is not None else ())
    of_map = _by_stage(segmentation.timings)
    masks = _took(texts.count("status.masks", len(segmentation.proposals)), of_analysis.get(PROPOSING), texts)
    in_use = texts.format("status.in_use", count=f"{int(segmentation.kept.sum()):,}")
    parts = [f"{masks}, {in_use}"]
    if EMBEDDING_REGIONS in of_analysis and not of_analysis[EMBEDDING_REGIONS].was_cached:
        parts.append(_took(texts["status.regions_embedded"], of_analysis[EMBEDDING_REGIONS], texts))
    names = texts.count("status.names", len(segmentation.vocabulary.all_names))
    parts.append(_took(names, of_map[ENCODING_NAMES], texts))
    parts.append(_took(texts["status.map_drawn"], of_map[DRAWING], texts))
    return " · ".join([*parts, *segmentation.notes])


def ready_line(analysis: Analysis, texts: Texts) -> str:
    """Return what was done while there are no class names, such as "118 masks in 9.1 s · now type …"."""
    masks = texts.count("status.masks", len(analysis.proposals))
    took = _took(masks, _by_stage(analysis.timings)[PROPOSING], texts)
    return f"{took} · {texts['status.type_names']}"


def format_seconds(seconds: float) -> str:
    """Return a time with about two digits."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def rough_time(seconds: float, texts: Texts) -> str:
    """Return an estimated time, such as "about 4 s"."""
    if seconds < 1:
        return texts["status.less_than_a_second"]
    if seconds < 90:
        time = texts.format("status.cost_seconds", count=round(seconds))
    else:
        time = texts.format("status.cost_minutes", count=round(seconds / 60))
    return texts.format("status.about", time=time)


def _stage_label(stage: str, texts: Texts) -> str:
    if stage in _STAGES:
        return texts[_STAGES[stage]]
    for beginning, key in _DOWNLOAD_STAGES.items():
        if stage.startswith(beginning):
            return texts.format(key, name=stage.removeprefix(beginning))
    return stage  # of a caller's own proposal generator


def _by_stage(timings: tuple[Timing, ...]) -> dict[str, Timing]:
    return {timing.stage: timing for timing in timings}


def _took(what: str, timing: Timing | None, texts: Texts) -> str:
    """Return what was done, with the time it took if that is known."""
    if timing is None:
        return what
    if timing.was_cached:
        return texts.format("status.cached", what=what)
    return texts.format("status.took", what=what, time=format_seconds(timing.seconds))
