"""Analyzes examples ahead, so that the first click is answered at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.ui.costs import Kind
from ovseg_demo.ui.examples import Example, examples_for
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.status_text import format_seconds
from ovseg_demo.ui.uploads import read_image


def preload(registry: ModelRegistry, settings: PageSettings, examples: Sequence[Example]) -> Iterator[str]:
    """Load the default model and segment its examples, whose analyses the cache then holds.

    Yields:
        A line for each that is done.

    Raises:
        OvsegError: the model cannot be loaded, or an example not be used.
    """
    suitable = examples_for(examples, registry.default.knows_photographs)
    for number, example in enumerate(suitable, start=1):
        start = time.perf_counter()
        preload_example(registry, settings, example, Request())
        took = format_seconds(time.perf_counter() - start)
        yield f"Preloaded {number} of {len(suitable)}: {example.title} ({took})"


def preload_example(
    registry: ModelRegistry,
    settings: PageSettings,
    example: Example,
    request: Request,
    *,
    budget: MemoryBudget | None = None,
    progress: ProgressCallback = no_progress,
) -> None:
    """Segment an example; the caches then hold its analysis and its class names.

    Args:
        registry: the models.
        settings: limits.
        example: its prompt, generator and granularity count.
        request: its model, classifier and other settings count.
        budget: what all visitors' images may take together while they are decoded.
        progress: called during the work; it may stop the work by raising an exception.

    Raises:
        OvsegError: the model cannot be loaded, or the example not be used.
    """
    entry = registry.find(request.model)
    segmenter = registry.segmenter(entry.name)
    pixels, _ = read_image(str(example.path), settings, budget)
    wanted = replace(request, prompt=example.prompt, granularity=example.granularity)
    generator = entry.suitable(example.generator)
    points_per_side = wanted.points_for(generator)
    segmentation = segmenter.segment(
        pixels,
        wanted.vocabulary(settings.max_names),
        generator=generator,
        points_per_side=points_per_side,
        classifier=wanted.classifier,
        rule=wanted.rule,
        templates=wanted.prompt_templates,
        progress=progress,
    )
    kind = Kind(entry.name, generator, points_per_side or 0, wanted.classifier)
    registry.costs.note(kind, segmentation.timings, segmentation.proposals.points_per_side)
