"""A real server with the model of flat colours, and what visitors do to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import gradio as gr
from gradio_client import Client

from ovseg_demo.segmenter import Segmenter
from ovseg_demo.ui import PageSettings, create_demo
from ovseg_demo.ui.examples import Example
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.server import ServerSettings, launch
from ovseg_demo.ui.visitor_files import VisitorFiles
from tests.ui.colour_world import colour_segmenter


@dataclass(frozen=True)
class Server:
    """An open page, the segmenter behind it, and Gradio's object."""

    url: str
    segmenter: Segmenter
    demo: gr.Blocks

    def client(self, **options) -> Client:
        return Client(self.url, verbose=False, analytics_enabled=False, **options)


@contextmanager
def serve_page(
    server: ServerSettings | None = None,
    files: VisitorFiles | None = None,
    registry: ModelRegistry | None = None,
    examples: Sequence[Example] = (),
    **settings,
):
    """Open the page on a free port of this machine, and close it."""
    segmenter = colour_segmenter()
    registry = registry or ModelRegistry.of_segmenter(segmenter)
    demo = create_demo(registry, replace(PageSettings(), **settings), examples, files)
    _, url, _ = launch(demo, server, prevent_thread_lock=True, quiet=True)
    try:
        yield Server(url.rstrip("/"), segmenter, demo)
    finally:
        demo.close(verbose=False)
