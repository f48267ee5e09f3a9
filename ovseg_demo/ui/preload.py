"""Analyzes the examples before the page opens, so that the first click is answered at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

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
    entry = registry.default
    segmenter = registry.segmenter(entry.name)
    suitable = examples_for(examples, entry.knows_photographs)
    for number, example in enumerate(suitable, start=1):
        start = time.perf_counter()
        pixels, _ = read_image(str(example.path), settings)
        generator = entry.suitable(example.generator)
        request = Request(prompt=example.prompt, generator=generator, granularity=example.granularity)
        vocabulary = request.vocabulary(settings.max_names)
        segmentation = segmenter.segment(pixels, vocabulary, generator=generator, rule=request.rule)
        kind = Kind(entry.name, generator, 0, request.classifier)
        registry.costs.note(kind, segmentation.timings, segmentation.proposals.points_per_side)
        took = format_seconds(time.perf_counter() - start)
        yield f"Preloaded {number} of {len(suitable)}: {example.title} ({took})"
