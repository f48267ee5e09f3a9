"""Gradio's page, with a bounded queue and with errors that are sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import InvalidPathError
from gradio_client.exceptions import AppError

from ovseg_demo.errors import OvsegError
from ovseg_demo.ui.admission import AdmissionQueue, Places
from ovseg_demo.ui.failures import encodable, log_failure, sentence_of
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.visitor_files import VisitorFiles

_UNREADABLE = "These values are of another kind than this event takes; reload the page, or see its API."
_TITLE = "That did not work"


class PageBlocks(gr.Blocks):
    """A page whose queue bounds each kind of event, and whose errors always have a message.

    A user error is one line in the log; anything else is a fault of the program, and leaves its traceback.

    Args:
        places: how many events of each kind may run or wait.
        checks: for events by their names: takes the inputs as they came, returns them completed, or raises a
            user error.
        files: the folder of visitors' files, where it is this page's own.
        texts: of the page; by default in English.
        options: of ``gradio.Blocks``.
    """

    def __init__(
        self,
        *,
        places: Mapping[str, Places],
        checks: Mapping[str, Callable[[list[Any]], list[Any]]],
        files: VisitorFiles | None = None,
        texts: Texts | None = None,
        **options: Any,
    ):
        self._places = places  # Gradio makes the queue while it initializes
        self._checks = checks
        self.files = files
        self.texts = texts
        super().__init__(**options)

    def queue(self, *arguments: Any, **options: Any) -> PageBlocks:
        """Make the queue."""
        super().queue(*arguments, **options)
        made = self._queue
        self._queue = AdmissionQueue(
            places=self._places,
            live_updates=made.live_updates,
            concurrency_count=self.max_threads,
            update_intervals=made.update_intervals,
            max_size=None,
            blocks=self,
            default_concurrency_limit=made.default_concurrency_limit,
        )
        return self

    async def process_api(
        self, block_fn: BlockFunction | int, *arguments: Any, **options: Any
    ) -> dict[str, Any]:
        """Run an event.

        Raises:
            gradio.Error: it failed. The message is text for programs, and HTML for the page, whose toast
                displays HTML.
        """
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        try:
            return await super().process_api(fn, *arguments, **options)
        except Exception as error:
            log_failure(fn.api_name, error)
            message = sentence_of(error)
            is_program = fn.api_visibility == "public"
            raise gr.Error(
                message if is_program else escape(message), title=_TITLE, print_exception=False
            ) from None

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *arguments: Any, **options: Any
    ) -> list[Any]:
        """Return what the handler gets.

        Raises:
            OvsegError: the inputs are not what the components take.
            gradio.Error: a value is not among a component's choices.
        """
        inputs = [_encodable(value) for value in inputs]
        check = self._checks.get(block_fn.api_name)
        if check is not None:
            inputs = check(inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *arguments, **options)
        except (OvsegError, AppError, InvalidPathError):
            raise
        except Exception as error:
            if isinstance(error.__cause__, OvsegError):  # of a component of ours, which Gradio wrapped
                raise error.__cause__ from None
            raise OvsegError(_UNREADABLE) from error


def _encodable(value: Any) -> Any:
    """Return a JSON value whose texts UTF-8 can encode."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_encodable(one) for one in value]
    if isinstance(value, dict):
        return {encodable(name): _encodable(one) for name, one in value.items()}
    return value
