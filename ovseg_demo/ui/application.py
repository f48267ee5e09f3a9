"""Start the page as the operator's options say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from ovseg_demo.cli.exit_codes import USER_ERROR
from ovseg_demo.errors import OvsegError
from ovseg_demo.models.loading import DEFAULT_MODEL, import_networks, load_segmenter
from ovseg_demo.ui.examples import load_examples
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.options import PROGRAM, AppOptions, read_options
from ovseg_demo.ui.page import create_demo
from ovseg_demo.ui.preload import preload
from ovseg_demo.ui.server import serve
from ovseg_demo.ui.visitor_files import visitor_files
from ovseg_demo.ui.zero_gpu import is_zero_gpu, lending


def run(argv: Sequence[str], environment: Mapping[str, str], prog: str = PROGRAM) -> int:
    """Serve the page until the process is asked to stop; then end the process.

    A user error is one sentence on stderr, and the exit code is returned.

    Args:
        argv: the arguments after the program's name.
        environment: the environment variables.
        prog: how help texts name the program.
    """
    options = read_options(argv, environment, prog)
    try:
        with visitor_files() as files:
            registry = make_registry(options, on_lent_gpu=is_zero_gpu(environment))
            examples = load_examples()
            demo = create_demo(registry, options.page, examples, files)
            if options.preload:
                for line in preload(registry, options.page, examples):
                    print(line, flush=True)
            serve(demo, options.server, options.page, once_open=import_networks)
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    # The interpreter's own end would break off threads in the midst of an analysis or an import, and abort.
    sys.stdout.flush()
    os._exit(0)


def make_registry(options: AppOptions, *, on_lent_gpu: bool = False) -> ModelRegistry:
    """Return the models that visitors can choose: the catalogue's, or one model of the operator's files.

    Args:
        options: the operator's options.
        on_lent_gpu: compute on a GPU that Hugging Face lends for each call. The default model is then loaded
            at once: the Space must register its GPU function before the page opens.

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
