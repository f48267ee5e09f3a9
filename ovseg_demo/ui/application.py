"""From options to an open page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial

from ovseg_demo.commands.parser import USER_ERROR
from ovseg_demo.errors import OvsegError
from ovseg_demo.loading import DEFAULT_MODEL, load_segmenter
from ovseg_demo.ui.examples import load_examples
from ovseg_demo.ui.offers import Offers
from ovseg_demo.ui.options import AppOptions, read_options
from ovseg_demo.ui.page import create_demo
from ovseg_demo.ui.preload import preload
from ovseg_demo.ui.server import serve


def run(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Serve the page as arguments and environment ask for, until the process is told to stop.

    Returns:
        The exit code. What operators can mend is told in one sentence on stderr.
    """
    options = read_options(argv, environment)
    try:
        offers = make_offers(options)
        examples = load_examples()
        demo = create_demo(offers, options.page, examples)
        if options.preload:
            for line in preload(offers, options.page, examples):
                print(line, flush=True)
        serve(demo, options.server)
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def make_offers(options: AppOptions) -> Offers:
    """The models that visitors can choose: those of the catalogue, or one of the operator's own files.

    Raises:
        OvsegError: there is no such model, generator, file or device.
    """
    if options.weights:
        segmenter = load_segmenter(options.model, **options.weights, **options.runtime)
        offers = Offers.of_segmenter(segmenter)
    else:
        load = partial(load_segmenter, **options.runtime)
        offers = Offers.of_catalogue(options.model or DEFAULT_MODEL, load)
    return offers.prefer(options.generator) if options.generator else offers
