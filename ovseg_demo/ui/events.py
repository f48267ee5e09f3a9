"""Which Gradio event calls which of the :class:`EventHandlers`, and how the events queue."""

from __future__ import annotations

import gradio as gr

from ovseg_demo.ui.admission import ANALYSIS, EDIT, EXPORT, FRAME, INSTANT
from ovseg_demo.ui.handlers import EventHandlers
from ovseg_demo.ui.layout import Components
from ovseg_demo.ui.settings import PageSettings

_PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def connect(demo: gr.Blocks, parts: Components, handlers: EventHandlers, settings: PageSettings) -> None:
    """Connect the components of a page that is being made.

    An analysis may take minutes on a slow machine, a file seconds, an edit milliseconds: they queue
    separately.
    """
    session, saved = parts.session, parts.saved
    request = list(parts.request.values())
    long = _PRIVATE | {
        "concurrency_id": ANALYSIS,
        "concurrency_limit": settings.started_analyses,
        "trigger_mode": "multiple",
    }
    short = _PRIVATE | {"concurrency_id": EDIT, "concurrency_limit": settings.concurrent_edits}
    instant = _PRIVATE | {"concurrency_id": INSTANT, "concurrency_limit": None, "trigger_mode": "multiple"}
    displays = [parts.viewer, parts.chips, parts.suggestions]
    inputs = [session, parts.image, *request]

    gr.on([parts.submit.click, parts.prompt.submit], handlers.analyze, inputs, displays, **long)
    # Not the image's `input`: it also comes when the image is removed, and may still bring the image along.
    choices = [parts.image.upload, parts.generator.input, parts.classifier.input, parts.points_per_side.input]
    gr.on(choices, handlers.analyze_if_chosen, inputs, displays, **long)
    parts.gallery.choose(handlers.fill_in, [session, *request], [parts.image, *request], **instant).success(
        handlers.analyze, inputs, displays, **long
    )
    parts.header.prefetch(handlers.prefetch, [session, *request], None, **long)
    parts.viewer.open(handlers.analyze_if_chosen, inputs, displays, **long)
    parts.viewer.compare(handlers.compare, [session], displays, **long)
    parts.viewer.encode(handlers.encode, [session], displays, **long)
    parts.suggestions.offer(handlers.offer, [session], displays, **long)
    of_download = [*displays, parts.model, parts.model_facts, parts.download]
    parts.download.click(handlers.download, [session, parts.model], of_download, **long)
    parts.viewer.obtain(handlers.obtain, [session, parts.model], of_download, **long)
    parts.viewer.switch(
        handlers.switch, [parts.generator], [parts.model, parts.generator, parts.points_per_side], **instant
    ).success(handlers.analyze, inputs, displays, **long)
    parts.viewer.refine(handlers.refine, None, [parts.points_per_side], **instant).success(
        handlers.analyze, inputs, displays, **long
    )

    edit = short | {"trigger_mode": "always_last"}
    parts.viewer.edit(handlers.edit, [session, *request], displays, **edit)
    parts.viewer.tune(handlers.tune, [session, *request], [*displays, parts.min_scores], **edit)
    parts.viewer.pick(handlers.explain, [session], displays, **edit)
    of_correction = short | {"trigger_mode": "multiple"}
    parts.viewer.correct(handlers.correct, [session], displays, **of_correction)
    of_frame = _PRIVATE | {
        "concurrency_id": FRAME,
        "concurrency_limit": settings.started_analyses,
        "trigger_mode": "multiple",
    }
    of_view = [*displays, parts.image, parts.generator]
    parts.viewer.start(handlers.go_live, [session, *request], of_view, **instant)
    parts.viewer.frame(handlers.map_frame, [session, *request], displays, **of_frame)
    parts.viewer.still(handlers.end_live, [session], of_view, **instant)
    of_file = _PRIVATE | {
        "concurrency_id": EXPORT,
        "concurrency_limit": settings.concurrent_exports,
        "trigger_mode": "multiple",
    }
    parts.viewer.save(handlers.save, [session], displays, **of_file)

    parts.viewer.cancel(handlers.cancel, [session], None, **instant)
    of_clear = [*displays, parts.image, parts.prompt, saved]
    parts.clear.click(handlers.clear, [session, saved], of_clear, **instant)
    parts.image.clear(handlers.forget, [session], displays, **instant)
    parts.distractors.change(
        lambda choice: gr.update(visible=choice == "own"),
        parts.distractors,
        parts.own_distractors,
        **instant,
    )
    of_model = [parts.generator, parts.model_facts, parts.download, parts.gallery, parts.licence]
    parts.model.change(handlers.describe, [parts.model, parts.generator], of_model, **instant)
    # Its own event: the model may lack the generator that was chosen, and the menu must follow first.
    parts.model.input(handlers.describe, [parts.model, parts.generator], of_model, **instant).success(
        handlers.analyze_if_chosen, inputs, displays, **long
    )

    submits = [parts.submit.click, parts.prompt.submit]
    gr.on(submits, handlers.remember, [saved, *request], [saved, parts.recent], **instant)
    parts.recent.choose(handlers.recall, [saved], [parts.prompt], **instant).then(
        handlers.analyze_if_chosen, inputs, displays, **long
    )
    of_link = [parts.image, *request, parts.recent, *displays]
    demo.load(handlers.restore, [session, saved], of_link, **instant)
