"""The web app, here and as a Hugging Face Space: ``python app.py``, then open the address that it prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from ovseg_demo.allocator import keep_freed_memory


def main(argv: Sequence[str] | None = None) -> int:
    """Open the page and serve it until it is stopped."""
    keep_freed_memory()
    from ovseg_demo.commands.model_arguments import add_model_arguments, chosen, load_chosen
    from ovseg_demo.errors import OvsegError
    from ovseg_demo.loading import DEFAULT_MODEL, load_segmenter
    from ovseg_demo.ui import PageSettings, create_demo
    from ovseg_demo.ui.offers import Offers
    from ovseg_demo.ui.server import ServerSettings, launch

    parser = argparse.ArgumentParser(
        description="Type class names, see the map: the page.", allow_abbrev=False
    )
    add_model_arguments(parser)
    parser.add_argument("--host", default=ServerSettings.host, help="0.0.0.0 opens the page to the network")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860")
    given = vars(parser.parse_args(argv))
    own_weights = chosen(given, ("ovseg", "sam", "clip", "unadapted", "detectron2"))
    runtime = chosen(given, ("device", "precision"))
    is_local = given["host"] in ("127.0.0.1", "localhost")
    try:
        if own_weights:
            offers = Offers.of_segmenter(load_chosen(given))
        else:
            offers = Offers.of_catalogue(
                given.get("model", DEFAULT_MODEL), partial(load_segmenter, **runtime)
            )
        demo = create_demo(offers, PageSettings(allow_downloads=is_local))
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    launch(demo, ServerSettings(host=given["host"], port=given["port"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
