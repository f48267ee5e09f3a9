"""From options to an open page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial

from ovseg_demo.cli.parser import USER_ERROR
from ovseg_demo.errors import OvsegError
from ovseg_demo.models.loading import DEFAULT_MODEL, load_segmenter
from ovseg_demo.ui.examples import load_examples
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.options import AppOptions, read_options
from ovseg_demo.ui.page import create_demo
from ovseg_demo.ui.preload import preload
from ovseg_demo.ui.server import serve
from ovseg_demo.ui.zero_gpu import is_zero_gpu, lending


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve the page as arguments and environment ask for, until the process is told to stop.

    Returns:
        The exit code. What operators can mend is told in one sentence on stderr.
    """
    options = read_options(argv, environment)
    try:
        registry = make_registry(options, on_lent_gpu=is_zero_gpu(environment))
        examples = load_examples()
        demo = create_demo(registry, options.page, examples)
        if options.preload:
            for line in preload(registry, options.page, examples):
                print(line, flush=True)
        serve(demo, options.server)
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def make_registry(options: AppOptions, *, on_lent_gpu: bool = False) -> ModelRegistry:
    """The models that visitors can choose: those of the catalogue, or one of the operator's own files.

    Args:
        options: say which.
        on_lent_gpu: compute on the GPU that a Space is lent; the first model is then looked at at once, for
            the Space must know before the page opens that a GPU is wanted.

    Raises:
        OvsegError: there is no such model, generator, file or device.
    """
    load = partial(load_segmenter, **options.runtime)
    if on_lent_gpu:
        load = lending(load)
    if options.weights:
        registry = ModelRegistry.of_segmenter(load(options.model, **options.weights))
    else:
        registry = ModelRegistry.of_catalogue(options.model or DEFAULT_MODEL, load)
        if on_lent_gpu:
            registry.segmenter(registry.default.name)
    return registry.prefer(options.generator) if options.generator else registry
