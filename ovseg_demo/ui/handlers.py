"""What each event of the page does: values of components in, updates of components out.

The :class:`PageController` does the work; this module hands its messages to Gradio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from ovseg_demo.errors import ModelError, OvsegError, VocabularyError
from ovseg_demo.ui.clients import is_local
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.examples import Example, examples_for, gallery_value
from ovseg_demo.ui.exports import read_view
from ovseg_demo.ui.failures import log_failure, sentence_of
from ovseg_demo.ui.layout import (
    Components,
    generator_choices,
    is_downloadable,
    licence_line,
    model_choices,
    model_facts,
)
from ovseg_demo.ui.messages import Updates, counted, status_message, view_message
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.request import GRIDS, Request, write_min_scores
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings

MAX_RECENT = 6
"""Number of prompts that the browser remembers."""

_MOST_PREFETCHED = 2  # examples, and images, that one event has analyzed

Outputs = dict[Any, Any]


class EventHandlers:
    """The functions that Gradio calls.

    Args:
        parts: the components.
        controller: does the work.
        registry: the models.
        settings: limits and permissions.
        examples: of all kinds.
    """

    def __init__(
        self,
        parts: Components,
        controller: PageController,
        registry: ModelRegistry,
        settings: PageSettings,
        examples: Sequence[Example],
    ):
        self._parts = parts
        self._controller = controller
        self._registry = registry
        self._settings = settings
        self._examples = examples

    # ---- the image and its map

    def analyze(self, session: Session, path: str | None, *values: Any) -> Iterator[Outputs]:
        """Submit: analyze the image and map it."""
        request = self._request(values)
        updates = self._controller.analyze(session, path, request)
        yield from self._accumulate(session, updates, request, session.example_of(path))

    def analyze_if_chosen(self, session: Session, path: str | None, *values: Any) -> Iterator[Outputs]:
        """Analyze another image, or the image with other settings; without an image read the names alone."""
        if path or session.image is not None:
            yield from self.analyze(session, path, *values)
        else:
            yield self.edit(session, *values)

    def fill_in(self, event: gr.EventData, session: Session, *values: Any) -> Outputs:
        """Put an example's image, names and settings in place of the visitor's; the next event analyzes it.

        One handler cannot do both: where a generator function sets an image and then leaves it unchanged,
        Gradio sends the difference of the two outputs, which garbles the image's record in the browser.
        """
        entry = self._registry.find(self._request(values).model)
        examples = examples_for(self._examples, entry.knows_photographs)
        index = _data(event).get("index")
        if not (isinstance(index, int) and 0 <= index < len(examples)):
            raise OvsegError("There is no such example; reload the page.")
        example = examples[index]
        return {
            self._parts.image: self._choose(session, example),
            self._parts.prompt: example.prompt,
            self._parts.generator: entry.suitable(example.generator),
            self._parts.granularity: example.granularity,
            self._parts.points_per_side: Request.points_per_side,
        }

    def prefetch(self, event: gr.EventData, session: Session, *values: Any) -> Iterator[None]:
        """Analyze the uploaded images and the examples that a presenter may show next."""
        request, data = self._request(values), _data(event)
        entry = self._registry.find(request.model)
        examples = examples_for(self._examples, entry.knows_photographs)
        images = [
            self._parts.image.uploaded(path) for path in _first(data.get("images")) if isinstance(path, str)
        ]
        chosen = [examples[index] for index in _first(data.get("examples")) if index in range(len(examples))]
        number = counted(data.get("number"))
        yield from self._controller.prefetcher.analyze(session, [*images, *chosen], request, number)

    def compare(self, event: gr.EventData, session: Session) -> Iterator[Outputs]:
        """Display a rival's map beside the page's own, or no longer."""
        key = str(_data(event).get("rival") or "")
        yield from self._accumulate(session, self._controller.compare(session, key))

    def edit(self, session: Session, *values: Any) -> Outputs:
        """Map other class names or another granularity."""
        request = self._request(values)
        try:
            updates = self._controller.edit(session, request)
        except OvsegError as error:  # such as a setting that the browser made up
            updates = _problem(session, error)
        return self._outputs(updates, request, _example_on_page(session))

    def tune(self, event: gr.EventData, session: Session, *values: Any) -> Outputs:
        """Map least scores of single classes, all of which the browser sends."""
        try:
            scores = write_min_scores(_data(event).get("scores"))
            request = replace(self._request(values), min_scores=scores)
            updates = self._controller.edit(session, request)
        except OvsegError as error:
            return self._outputs(_problem(session, error))
        return self._outputs(updates, request, _example_on_page(session)) | {self._parts.min_scores: scores}

    def encode(self, session: Session) -> Iterator[Outputs]:
        """Map class names whose encoding takes long."""
        request = session.wanted.request
        updates = self._controller.encode(session)
        yield from self._accumulate(session, updates, request, _example_on_page(session))

    def offer(self, session: Session) -> Iterator[Outputs]:
        """Suggest class names, where encoding the candidates takes long."""
        yield from self._accumulate(session, self._controller.suggest(session))

    def explain(self, event: gr.EventData, session: Session) -> Outputs:
        """Explain a pixel."""
        x, y = _data(event).get("x"), _data(event).get("y")
        is_pixel = isinstance(x, int) and isinstance(y, int)
        return self._outputs(self._controller.explain(session, x, y) if is_pixel else {})

    def correct(self, event: gr.EventData, session: Session) -> Outputs:
        """Map what the visitor corrects."""
        try:
            updates = self._controller.correct(session, _data(event))
        except OvsegError as error:
            updates = _problem(session, error)
        return self._outputs(updates)

    def go_live(self, event: gr.EventData, session: Session, *values: Any) -> Outputs:
        """Start a live view of the camera, with the quickest proposal generator."""
        request, view = self._request(values), _data(event).get("view")
        try:
            updates, generator = self._controller.live.start(session, view, request)
        except OvsegError as error:
            return self._outputs(_problem(session, error) | _no_live(session, view))
        if generator is None:
            return self._outputs(updates)
        return self._outputs(updates) | {self._parts.image: None, self._parts.generator: generator}

    def map_frame(self, event: gr.EventData, session: Session, *values: Any) -> Outputs:
        """Map a frame of the camera."""
        request, data = self._request(values), _data(event)
        try:
            updates = self._controller.live.answer(session, data, request)
        except Exception as error:  # in the place of the result, and not in a toast
            log_failure("frame", error)
            updates = self._controller.live.last_frame(session)
            updates |= _problem(session, error) | _no_live(session, data.get("view"))
        return self._outputs(updates, request)

    def end_live(self, event: gr.EventData, session: Session) -> Outputs:
        """End a live view; the last frame is an image like any other.

        Before the first frame, the image that was on the page is there still: it gets its place back.
        """
        outputs = self._outputs(self._controller.live.stop(session, _data(event).get("view")))
        image, displayed = session.image, session.displayed
        if (
            session.runs.live is not None
            or image is None
            or session.is_frame
            or not Path(image.path).is_file()
        ):
            return outputs
        generator = {} if displayed is None else {self._parts.generator: displayed.request.generator}
        return outputs | {self._parts.image: image.path} | generator

    def save(self, event: gr.EventData, session: Session) -> Iterator[Outputs]:
        """Make a file to download."""
        data = _data(event)
        updates = self._controller.export(session, str(data.get("kind")), read_view(data))
        yield from self._accumulate(session, updates)

    def cancel(self, event: gr.EventData, session: Session) -> None:
        """Stop the run that was under way when the button was pressed."""
        session.runs.cancel(_data(event).get("run"))

    def forget(self, session: Session) -> Outputs:
        """Forget the image, keep the class names."""
        updates = self._controller.clear(session)
        return self._outputs({channel: updates[channel] for channel in updates.keys() - {"chips"}})

    def clear(self, session: Session, saved: Mapping[str, Any]) -> Outputs:
        """Forget the image and the class names, also in the address and in what the browser keeps."""
        updates = self._controller.clear(session)
        updates["chips"] = updates["chips"] | {"link": ""}
        settings = saved.get("settings") if isinstance(saved, dict) else None
        settings = settings if isinstance(settings, dict) else {}
        return self._outputs(updates) | {
            self._parts.image: None,
            self._parts.prompt: "",
            self._parts.saved: {
                "recent": _recent(saved),
                "settings": {name: value for name, value in settings.items() if name != "prompt"},
            },
        }

    # ---- models

    def download(self, http: gr.Request, session: Session, model: str) -> Iterator[Outputs]:
        """Download the model that is chosen in the menu."""
        yield from self._download(http, session, model, model)

    def obtain(
        self, http: gr.Request, event: gr.EventData, session: Session, chosen: str
    ) -> Iterator[Outputs]:
        """Download the model that the notice beside the map proposes."""
        yield from self._download(http, session, str(_data(event).get("model", "")), chosen)

    def switch(self, event: gr.EventData, generator: str) -> Outputs:
        """Choose the model that the notice beside the map proposes; the next event analyzes the image."""
        entry = self._registry.find(str(_data(event).get("model", "")))
        return {
            self._parts.model: entry.name,
            self._parts.generator: gr.update(
                choices=generator_choices(entry), value=entry.suitable(generator)
            ),
            self._parts.points_per_side: Request.points_per_side,
        }

    def refine(self, event: gr.EventData) -> Outputs:
        """Choose the grid that the notice beside the map proposes; the next event analyzes the image."""
        points = _data(event).get("points")
        if points not in (Request.points_per_side, *GRIDS):
            raise OvsegError("There is no such grid of points; reload the page.")
        return {self._parts.points_per_side: points}

    def _download(self, http: gr.Request, session: Session, wanted: str, chosen: str) -> Iterator[Outputs]:
        """Download a model and report its progress; then describe the one that is chosen in the menu."""
        if not self._may_download(http):
            raise ModelError(
                "Models can be downloaded here only from the machine itself; ask the operator of this page, "
                'who can allow it to all with "--allow-downloads".'
            )
        outputs: Outputs = {}
        for outputs in self._accumulate(session, self._controller.download(session, wanted)):
            yield outputs
        entry = self._registry.find(chosen)
        yield outputs | {
            self._parts.model: self._model_menu(),
            self._parts.model_facts: model_facts(entry, self._settings.texts),
            self._parts.download: gr.update(visible=is_downloadable(entry, self._settings)),
        }

    def describe(self, http: gr.Request, model: str, generator: str) -> Outputs:
        """Display the generators, examples and licence of another model."""
        entry = self._registry.find(model)
        examples = examples_for(self._examples, entry.knows_photographs)
        return {
            self._parts.generator: gr.update(
                choices=generator_choices(entry),
                value=entry.suitable(generator),
            ),
            self._parts.model_facts: model_facts(entry, self._settings.texts),
            self._parts.download: gr.update(
                visible=is_downloadable(entry, self._settings) and self._may_download(http)
            ),
            self._parts.gallery: gallery_value(examples),
            self._parts.licence: licence_line(entry, self._settings.texts),
        }

    # ---- what the browser remembers

    def remember(self, saved: Mapping[str, Any], *values: Any) -> Outputs:
        """Keep the settings and, if its names can be read, the prompt as the newest of the recent ones."""
        request = self._request(values)
        recent = _recent(saved)
        with suppress(VocabularyError):  # which the analysis reports
            request.vocabulary(self._settings.max_names)
            recent = [request.prompt, *(prompt for prompt in recent if prompt != request.prompt)]
        return {
            self._parts.saved: {"recent": recent[:MAX_RECENT], "settings": request.save()},
            self._parts.recent: recent[:MAX_RECENT],
        }

    def recall(self, event: gr.EventData, saved: Mapping[str, Any]) -> Any:
        """Put a recent prompt into the text box."""
        recent, index = _recent(saved), _data(event).get("index")
        return recent[index] if isinstance(index, int) and 0 <= index < len(recent) else gr.skip()

    def restore(self, http: gr.Request, session: Session, saved: Mapping[str, Any]) -> Outputs:
        """Restore what a link says, or what this browser remembers; a visitor who has typed is left alone.

        Where the link names an example, the message "open" asks the page to analyze it.
        """
        session.may_download = self._may_download(http)
        linked = dict(http.query_params)
        settings = saved.get("settings") if isinstance(saved, dict) else None
        is_link = bool(linked.keys() & {"prompt", "words", "example"})
        example = self._example_named(linked.get("example"))
        if example is not None and "prompt" not in linked:
            linked = _of_example(example) | linked
        request = Request.restore(linked if is_link else settings or {})
        outputs: Outputs = {self._parts.recent: _recent(saved), self._parts.model: self._model_menu()}
        is_empty = request == Request() and example is None
        if is_empty or session.wanted.request != Request():
            return outputs
        entry = self._entry_of(request)
        if request.model not in ("", entry.name):
            gr.Warning(self._replacement_sentence(request.model, entry))
        request = replace(request, model=entry.name, generator=entry.suitable(request.generator))
        updates = self._controller.edit(session, request)
        if example is not None:
            outputs[self._parts.image] = self._choose(session, example)
            updates["open"] = {"number": session.next_number(), "example": example.title}
        return {
            **outputs,
            **{component: getattr(request, name) for name, component in self._parts.request.items()},
            self._parts.model: self._model_menu() | {"value": entry.name},
            self._parts.generator: gr.update(choices=generator_choices(entry), value=request.generator),
            **self._outputs(updates),
        }

    # ---- their parts

    def _may_download(self, http: gr.Request) -> bool:
        """Return whether this request may download models."""
        settings = self._settings
        return settings.allow_downloads and (not settings.downloads_are_local or is_local(http.request))

    def _model_menu(self) -> dict[str, Any]:
        """Return an update of the menu of models, of which one may have been downloaded since."""
        return gr.update(choices=model_choices(self._registry, self._settings.texts))

    def _replacement_sentence(self, wanted: str, entry: ModelEntry) -> str:
        """Return the sentence, as HTML, that a model answers for another one that is not here."""
        titles = {one.name: one.title for one in self._registry}
        sentence = self._settings.texts.format(
            "status.other_model", wanted=titles.get(wanted, wanted), model=entry.title
        )
        return escape(sentence)

    def _choose(self, session: Session, example: Example) -> str:
        """Return the path of an example's image; Gradio serves files from its cache alone."""
        path = save_file_to_cache(example.path, cache_dir=self._parts.image.GRADIO_CACHE)
        session.choose_example(path, example.title, example.prompt)
        return path

    def _example_named(self, title: str | None) -> Example | None:
        """Return the example of a title, or ``None`` if there is none."""
        return next((example for example in self._examples if example.title == title), None)

    def _accumulate(
        self,
        session: Session,
        all_updates: Iterator[Updates],
        request: Request | None = None,
        example: str = "",
    ) -> Iterator[Outputs]:
        """Yield outputs that repeat the newest message of every channel.

        From the second output on, Gradio sends the difference to the output before, and its script applies
        the difference also to outputs that it has not displayed yet. A channel that an output left out would
        be removed there. Repeating a message costs nothing.

        An error is also a message of the viewer: a toast vanishes.
        """
        newest: Updates = {}
        try:
            for updates in all_updates:
                newest |= updates
                yield self._outputs(newest, request, example)
        except Exception as error:
            yield self._outputs(newest | _problem(session, error), request, example)
            raise

    def _outputs(self, updates: Updates, request: Request | None = None, example: str = "") -> Outputs:
        """Return updates of components: the chips' messages are values, the others go to the viewer.

        Args:
            updates: messages by channel.
            request: what the visitor asked for; the address of the page is to restore it.
            example: the title of the example that the image is.
        """
        channels = {
            name: message for name, message in updates.items() if name not in ("chips", "suggestions")
        }
        outputs: Outputs = {self._parts.viewer: gr.update(**channels)} if channels else {}
        if "chips" in updates:
            link = {} if request is None else {"link": request.link(example)}
            outputs[self._parts.chips] = updates["chips"] | link
        if "suggestions" in updates:
            outputs[self._parts.suggestions] = updates["suggestions"]
        return outputs or {self._parts.chips: gr.skip()}

    def _request(self, values: Sequence[Any]) -> Request:
        """Return the request that the components' values make; an empty component keeps its default."""
        by_name = dict(zip(self._parts.request, values, strict=True))
        return Request(**{name: value for name, value in by_name.items() if value is not None})

    def _entry_of(self, request: Request) -> ModelEntry:
        try:
            entry = self._registry.find(request.model)
        except ModelError:
            return self._registry.default
        return entry if entry.is_present else self._registry.default


def _problem(session: Session, error: Exception) -> Updates:
    """Return the message that keeps an error readable where the result would be."""
    return {"status": status_message(session.next_number(), sentence_of(error)) | {"isProblem": True}}


def _no_live(session: Session, view: object) -> Updates:
    """Return the message that ends a live view in the browser."""
    return {"still": view_message(session.next_number(), counted(view))}


def _example_on_page(session: Session) -> str:
    """Return the title of the example that is on the page, if it is one."""
    return session.example_of(session.image.path) if session.image is not None else ""


def _of_example(example: Example) -> dict[str, Any]:
    """Return the fields of a :class:`Request` that an example has."""
    return {"prompt": example.prompt, "generator": example.generator, "granularity": example.granularity}


def _data(event: gr.EventData) -> Mapping[str, Any]:
    """Return what our script sent along; the browser may send anything."""
    return event._data if isinstance(event._data, dict) else {}


def _first(wanted: Any) -> list[Any]:
    """Return the first entries of a list that the browser sent; none of anything else."""
    return wanted[:_MOST_PREFETCHED] if isinstance(wanted, list) else []


def _recent(saved: Any) -> list[str]:
    recent = saved.get("recent") if isinstance(saved, dict) else None
    return [prompt for prompt in recent if isinstance(prompt, str)][:MAX_RECENT] if recent else []
