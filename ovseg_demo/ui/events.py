"""What happens when: Gradio's events, and the :class:`Steps` that answer them."""

from __future__ import annotations

import gradio as gr

from ovseg_demo.ui.handlers import Steps
from ovseg_demo.ui.layout import Parts
from ovseg_demo.ui.settings import PageSettings

_PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def connect(demo: gr.Blocks, parts: Parts, steps: Steps, settings: PageSettings) -> None:
    """Connect the components of a page that is being made.

    A first look may take minutes on a slow machine, an edit takes milliseconds: they queue separately.
    """
    session, saved = parts.session, parts.saved
    long = _PRIVATE | {
        "concurrency_id": "look",
        "concurrency_limit": settings.queued_analyses,
        "trigger_mode": "multiple",
    }
    short = _PRIVATE | {"concurrency_id": "edit", "concurrency_limit": settings.concurrent_edits}
    instant = _PRIVATE | {"concurrency_id": "instant", "concurrency_limit": None, "trigger_mode": "multiple"}
    shown = [parts.viewer, parts.chips]
    asked = [session, parts.image, *parts.request]

    gr.on([parts.submit.click, parts.words.submit], steps.look, asked, shown, **long)
    # Not the image's `input`, which comes with clearing, too, and may still bring the image along.
    choices = [parts.image.upload, parts.generator.input, parts.classifier.input, parts.model.input]
    gr.on(choices, steps.look_again, asked, shown, **long)
    parts.gallery.choose(steps.fill_in, parts.request, [parts.image, *parts.request], **instant).success(
        steps.look, asked, shown, **long
    )
    parts.viewer.compare(steps.compare, [session], shown, **long)
    parts.fetch.click(steps.fetch, [session, parts.model], [*shown, parts.model_facts, parts.fetch], **long)

    edit = short | {"trigger_mode": "always_last"}
    parts.viewer.edit(steps.edit, [session, *parts.request], shown, **edit)
    parts.viewer.pick(steps.explain, [session], shown, **edit)
    parts.viewer.save(steps.save, [session], shown, **short)

    parts.viewer.cancel(steps.cancel, [session], None, **instant)
    parts.clear.click(steps.clear, [session], [*shown, parts.image, parts.words], **instant)
    parts.image.clear(steps.forget, [session], shown, **instant)
    parts.distractors.change(
        lambda choice: gr.update(visible=choice == "own"), parts.distractors, parts.own, **instant
    )
    of_model = [parts.generator, parts.model_facts, parts.fetch, parts.gallery, parts.licence]
    parts.model.change(steps.describe, [parts.model, parts.generator], of_model, **instant)

    gr.on(
        [parts.submit.click, parts.words.submit],
        steps.remember,
        [saved, *parts.request],
        [saved, parts.recent],
        **instant,
    )
    parts.recent.choose(steps.recall, [saved], [parts.words], **instant).then(
        steps.look_again, asked, shown, **long
    )
    demo.load(steps.restore, [session, saved], [*parts.request, parts.recent, parts.chips], **instant)
