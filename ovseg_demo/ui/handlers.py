"""What each event of the page does: values of components in, updates of components out.

The work itself is the :class:`PageController`'s; here its messages are handed to Gradio.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, fields, replace
from functools import wraps
from html import escape
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from ovseg_demo.errors import ModelError, OvsegError, VocabularyError
from ovseg_demo.ui.controller import PageController, Updates
from ovseg_demo.ui.examples import Example, examples_for, gallery_value
from ovseg_demo.ui.exports import View
from ovseg_demo.ui.layout import Parts, generator_choices, is_fetchable, licence_line, model_facts
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings

MAX_RECENT = 6
"""So many word lists are remembered in the browser."""

Outputs = dict[Any, Any]


def show_user_errors(step: Callable) -> Callable:
    """Show the errors that visitors can mend as they are; the toast reads HTML, so they are escaped."""

    def to_tell(error: OvsegError) -> gr.Error:
        return gr.Error(escape(str(error)), title="That did not work", print_exception=False)

    @wraps(step)
    def answer(*arguments: Any) -> Any:
        try:
            return step(*arguments)
        except OvsegError as error:
            raise to_tell(error) from None

    @wraps(step)
    def answer_in_turns(*arguments: Any) -> Iterator[Any]:
        try:
            yield from step(*arguments)
        except OvsegError as error:
            raise to_tell(error) from None

    return answer_in_turns if inspect.isgeneratorfunction(step) else answer


class Steps:
    """The functions behind the events.

    Args:
        parts: the components.
        controller: does the work.
        registry: the models.
        settings: limits and permissions.
        examples: of all kinds.
    """

    def __init__(
        self,
        parts: Parts,
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

    @show_user_errors
    def look(self, session: Session, path: str | None, *values: Any) -> Iterator[Outputs]:
        """Submit: a first look, or if that was done, a new map."""
        yield from self._in_turns(self._controller.look(session, path, _request(values)))

    @show_user_errors
    def look_again(self, session: Session, path: str | None, *values: Any) -> Iterator[Outputs]:
        """Another image or setting that needs a first look; without an image only the words are read."""
        if path:
            yield from self._in_turns(self._controller.look(session, path, _request(values)))
        else:
            yield self._outputs(self._controller.edit(session, _request(values)))

    @show_user_errors
    def fill_in(self, event: gr.EventData, *values: Any) -> Outputs:
        """An example: its image, words and settings in place of the visitor's; then it is looked at.

        One step for both would be natural. But where a generator sets an image and then leaves it as it is,
        Gradio sends the difference of the two, and the browser garbles the image's record with it. Nor can
        both begin with the click: the browser starts the second step of an event when the first is done.
        """
        entry = self._registry.find(_request(values).model)
        examples = examples_for(self._examples, not entry.is_bundled)
        index = _data(event).get("index")
        if not (isinstance(index, int) and 0 <= index < len(examples)):
            raise OvsegError("There is no such example; reload the page.")
        example = examples[index]
        return {
            # Gradio serves files from its cache alone.
            self._parts.image: save_file_to_cache(example.path, cache_dir=self._parts.image.GRADIO_CACHE),
            self._parts.words: example.words,
            self._parts.generator: entry.suitable(example.generator),
            self._parts.granularity: example.granularity,
        }

    @show_user_errors
    def compare(self, event: gr.EventData, session: Session) -> Iterator[Outputs]:
        """Both classifiers, side by side, or no longer."""
        yield from self._in_turns(self._controller.compare(session, _data(event).get("on") is True))

    @show_user_errors
    def edit(self, session: Session, *values: Any) -> Outputs:
        """Other words, another granularity."""
        return self._outputs(self._controller.edit(session, _request(values)))

    @show_user_errors
    def explain(self, event: gr.EventData, session: Session) -> Outputs:
        """Why is this pixel what it is?"""
        x, y = _data(event).get("x"), _data(event).get("y")
        is_pixel = isinstance(x, int) and isinstance(y, int)
        return self._outputs(self._controller.explain(session, x, y) if is_pixel else {})

    @show_user_errors
    def save(self, event: gr.EventData, session: Session) -> Outputs:
        """A file to take away."""
        data = _data(event)
        return self._outputs(self._controller.export(session, str(data.get("kind")), View.read(data)))

    def cancel(self, event: gr.EventData, session: Session) -> None:
        """Stop what was under way when the button was pressed."""
        session.cancel(_data(event).get("run"))

    def forget(self, session: Session) -> Outputs:
        """The image was taken away; the words stay."""
        updates = self._controller.clear(session)
        return self._outputs({channel: updates[channel] for channel in updates.keys() - {"chips"}})

    def clear(self, session: Session) -> Outputs:
        """Begin anew."""
        outputs = self._outputs(self._controller.clear(session))
        return outputs | {self._parts.image: None, self._parts.words: ""}

    # ---- models

    @show_user_errors
    def fetch(self, session: Session, model: str) -> Iterator[Outputs]:
        """Download a model, and say so."""
        outputs: Outputs = {}
        for outputs in self._in_turns(self._controller.fetch(session, model)):
            yield outputs
        entry = self._registry.find(model)
        yield outputs | {
            self._parts.model_facts: model_facts(entry),
            self._parts.fetch: gr.update(visible=is_fetchable(entry, self._settings)),
        }

    @show_user_errors
    def describe(self, model: str, generator: str) -> Outputs:
        """Another model: other generators, other examples, another licence."""
        entry = self._registry.find(model)
        examples = examples_for(self._examples, not entry.is_bundled)
        return {
            self._parts.generator: gr.update(
                choices=generator_choices(entry),
                value=entry.suitable(generator),
            ),
            self._parts.model_facts: model_facts(entry),
            self._parts.fetch: gr.update(visible=is_fetchable(entry, self._settings)),
            self._parts.gallery: gallery_value(examples),
            self._parts.licence: licence_line(entry),
        }

    # ---- what the browser remembers

    @show_user_errors
    def remember(self, saved: Mapping[str, Any], *values: Any) -> Outputs:
        """Keep settings, and words that can be read as the newest of the recent ones."""
        request = _request(values)
        recent = _recent(saved)
        with suppress(VocabularyError):  # which the look tells that was asked for together with this
            request.vocabulary(self._settings.max_names)
            recent = [request.words, *(words for words in recent if words != request.words)][:MAX_RECENT]
        return {
            self._parts.saved: {"recent": recent, "settings": request.save()},
            self._parts.recent: recent,
        }

    def recall(self, event: gr.EventData, saved: Mapping[str, Any]) -> Any:
        """One of the recent word lists again."""
        recent, index = _recent(saved), _data(event).get("index")
        return recent[index] if isinstance(index, int) and 0 <= index < len(recent) else gr.skip()

    def restore(self, http: gr.Request, session: Session, saved: Mapping[str, Any]) -> Outputs:
        """What a link says, or else what this browser remembers; who has begun to type is left alone."""
        linked = dict(http.query_params)
        settings = saved.get("settings") if isinstance(saved, dict) else None
        request = Request.restore(linked if "words" in linked else settings or {})
        outputs: Outputs = {self._parts.recent: _recent(saved)}
        if request == Request() or session.wanted != Request():
            return outputs
        entry = self._entry_of(request)
        request = replace(request, model=entry.name, generator=entry.suitable(request.generator))
        return {
            **outputs,
            **dict(zip(self._parts.request, astuple(request), strict=True)),
            self._parts.generator: gr.update(choices=generator_choices(entry), value=request.generator),
            **self._outputs(self._controller.edit(session, request)),
        }

    # ---- their parts

    def _in_turns(self, steps: Iterator[Updates]) -> Iterator[Outputs]:
        """Outputs that repeat the newest message of every channel.

        From the second output on, Gradio sends what differs from the one before, and its script makes these
        changes also in outputs that still wait to be shown. So what an output left out would be taken from
        those before it; what is repeated costs nothing.
        """
        told: Updates = {}
        for updates in steps:
            told |= updates
            yield self._outputs(told)

    def _outputs(self, updates: Updates) -> Outputs:
        """Updates of components: the chips' message is a value, all others are channels of the viewer."""
        channels = {name: message for name, message in updates.items() if name != "chips"}
        outputs: Outputs = {self._parts.viewer: gr.update(**channels)} if channels else {}
        if "chips" in updates:
            outputs[self._parts.chips] = updates["chips"]
        return outputs or {self._parts.chips: gr.skip()}

    def _entry_of(self, request: Request) -> ModelEntry:
        try:
            entry = self._registry.find(request.model)
        except ModelError:
            return self._registry.default
        return entry if entry.is_present else self._registry.default


def _request(values: Sequence[Any]) -> Request:
    """The values of :attr:`Parts.request`; an empty component counts as untouched."""
    given = {
        field.name: value for field, value in zip(fields(Request), values, strict=True) if value is not None
    }
    return Request(**given)


def _data(event: gr.EventData) -> Mapping[str, Any]:
    """What our script sent along; the browser may send what it likes."""
    return event._data if isinstance(event._data, dict) else {}


def _recent(saved: Any) -> list[str]:
    recent = saved.get("recent") if isinstance(saved, dict) else None
    return [words for words in recent if isinstance(words, str)][:MAX_RECENT] if recent else []
