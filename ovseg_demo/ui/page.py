"""The page as a whole: components, where they stand, and what connects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.ui.admission import places_of
from ovseg_demo.ui.api import CHECKS, add_api
from ovseg_demo.ui.blocks import PageBlocks
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.events import connect
from ovseg_demo.ui.examples import Example, load_examples
from ovseg_demo.ui.handlers import EventHandlers
from ovseg_demo.ui.layout import build_layout
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.visitor_files import VisitorFiles, store

TITLE = "OVSeg Demo"

_CLEAN_EVERY, _KEEP_FILES = 600, 3600  # seconds


def create_demo(
    registry: ModelRegistry,
    settings: PageSettings | None = None,
    examples: Sequence[Example] | None = None,
    files: VisitorFiles | None = None,
) -> gr.Blocks:
    """Make the page; :func:`ovseg_demo.ui.server.launch` opens it.

    Args:
        registry: the models that visitors can choose.
        settings: limits and permissions; by default those for a public server.
        examples: by default those in ``examples/``.
        files: the folder of visitors' files; by default Gradio's, which is not bounded.
    """
    settings = settings or PageSettings()
    examples = load_examples() if examples is None else tuple(examples)
    with PageBlocks(
        places=places_of(settings.queued_analyses, settings.queued_programs),
        files=files,
        texts=settings.texts,
        checks=CHECKS,
        title=TITLE,
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_CLEAN_EVERY, _KEEP_FILES),
    ) as demo:
        parts = build_layout(registry, settings, examples)
        publish = _publisher(Path(parts.viewer.GRADIO_CACHE), files)
        budget = MemoryBudget(settings.decode_memory)
        controller = PageController(PageResources(registry, settings, publish, budget))
        connect(demo, parts, EventHandlers(parts, controller, registry, settings, examples), settings)
        add_api(registry, settings, publish, budget)
    _close_to_programs(demo)
    return demo


def _close_to_programs(demo: gr.Blocks) -> None:
    """Make all events private but the endpoints', also those that Gradio adds."""
    for event in demo.fns.values():
        if event.api_name not in CHECKS:
            event.api_visibility = "private"


def _publisher(folder: Path, files: VisitorFiles | None) -> Callable[[bytes, str], dict[str, Any]]:
    """Return what stores bytes where Gradio serves files from, and deletes them later."""

    def publish(content: bytes, name: str) -> dict[str, Any]:
        if files is not None:
            files.make_room(len(content))
        path = store(content, name, folder)
        return {"path": str(path), "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    return publish
