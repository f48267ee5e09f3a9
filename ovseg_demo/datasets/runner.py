"""Segments the images of a data set one by one, and reads and writes others while the networks work."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

from ovseg_demo.datasets.items import Item, choose_stems
from ovseg_demo.datasets.job import Job, LoadedImage
from ovseg_demo.datasets.store import OutputError, ResultStore
from ovseg_demo.errors import DeviceError, ImageError, OvsegError, VocabularyError
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.runtime.out_of_memory import is_out_of_memory
from ovseg_demo.segmentation import Segmentation

_AHEAD = 2
"""Images that are read ahead, each at most :data:`ovseg_demo.images.MAX_PIXELS`."""

_UNEXPECTED_IN_A_ROW = 5
"""So many unexpected errors in a row end a run: it is then not about single images."""


@dataclass(frozen=True)
class Failure:
    """An image without a result.

    Attributes:
        item: the image.
        sentence: what was wrong.
        kind: the name of the error's class.
        trace: the traceback of an unexpected error, otherwise empty.
    """

    item: Item
    sentence: str
    kind: str
    trace: str = ""

    def line(self) -> dict[str, Any]:
        """Return the line of ``errors.jsonl``."""
        line = {"file": self.item.given, "error": self.sentence, "kind": self.kind}
        return line | {"traceback": self.trace} if self.trace else line


@dataclass(frozen=True)
class Done:
    """An image whose results are written.

    Attributes:
        item: the image.
        key: the folder of its results.
        summary: one line for people.
    """

    item: Item
    key: str
    summary: str


@dataclass(frozen=True)
class Skipped:
    """An image that an earlier run finished."""

    item: Item


Outcome = Done | Skipped | Failure


@dataclass
class Counts:
    """What became of the images of a run."""

    done: int = 0
    skipped: int = 0
    failed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count an image."""
        self.done += isinstance(outcome, Done)
        self.skipped += isinstance(outcome, Skipped)
        self.failed += isinstance(outcome, Failure)


@dataclass(frozen=True)
class Unexpected:
    """A failure with an error that is not expected: a fault of the program, or of the machine."""

    failure: Failure
    error: Exception


class Reporter:
    """Passes outcomes on, and ends the run after too many unexpected errors in a row."""

    def __init__(self, on_outcome: Callable[[Outcome], None]):
        self._on_outcome = on_outcome
        self._in_a_row = 0

    def __call__(self, outcome: Outcome | Unexpected) -> None:
        """Pass an outcome on, or raise the last of too many errors."""
        if not isinstance(outcome, Unexpected):
            self._in_a_row = 0
            self._on_outcome(outcome)
            return
        self._in_a_row += 1
        self._on_outcome(outcome.failure)
        if self._in_a_row >= _UNEXPECTED_IN_A_ROW:
            raise outcome.error


def run_local(
    items: Sequence[Item],
    job: Job,
    store: ResultStore,
    *,
    on_outcome: Callable[[Outcome], None],
    progress: Callable[[], AbstractContextManager[ProgressCallback]] = lambda: nullcontext(no_progress),
) -> None:
    """Segment images in this process and save their results.

    One thread reads and decodes the next images, one encodes and writes the last result. The networks run in
    the calling thread. When it is interrupted, the result that is being written is finished.

    Args:
        items: the images.
        job: how they are segmented.
        store: gets the results.
        on_outcome: called after each image, in order, by the calling thread.
        progress: makes the callback for the stages of one image.

    Raises:
        FullDiskError: the disk is full.
        RecordError: the folder of the results is closed in another way.
        ModelError: a setting is not valid.
        Exception: five images in a row raised errors that are not expected.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
        reader = stack.enter_context(ThreadPoolExecutor(1, "read"))
        stack.callback(reader.shutdown, cancel_futures=True)
        report = Reporter(on_outcome)
        pending: Future[Outcome] | None = None
        stems = choose_stems(items, store.journal.stems)
        for item, reading in _read_ahead(reader, items, job, store):
            made = _segment(reading, job, item, progress)
            if pending is not None:
                report(pending.result())
                pending = None
            if isinstance(made, tuple):
                pending = writer.submit(_write, *made, job, store, item, stems(item))
            else:
                report(made)
            del made, reading  # the memory of this image, before the next one's
        if pending is not None:
            report(pending.result())


def _read_ahead(
    reader: ThreadPoolExecutor, items: Sequence[Item], job: Job, store: ResultStore
) -> Iterator[tuple[Item, Future]]:
    """Yield each item with the future of its image; the images behind it are read meanwhile."""
    waiting: deque[tuple[Item, Future]] = deque()
    for item in items:
        waiting.append((item, reader.submit(_read, item, job, store)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def _read(item: Item, job: Job, store: ResultStore) -> LoadedImage | Outcome | Unexpected:
    try:
        if store.is_finished(item, job):
            return Skipped(item)
        return job.load(item)
    except Exception as error:
        return describe_failure(item, error)


def _segment(
    reading: Future,
    job: Job,
    item: Item,
    progress: Callable[[], AbstractContextManager[ProgressCallback]],
) -> tuple[Segmentation, LoadedImage] | Outcome | Unexpected:
    image = reading.result()
    if not isinstance(image, LoadedImage):
        return image
    try:
        with progress() as callback:
            return job.segment(image, item, callback), image
    except Exception as error:
        return describe_failure(item, error)


def _write(
    segmentation: Segmentation, image: LoadedImage, job: Job, store: ResultStore, item: Item, stem: str
) -> Outcome | Unexpected:
    try:
        result = job.describe(segmentation, image, item, stem, store.formats_of(item, job))
        store.save(result)
    except Exception as error:
        return describe_failure(item, error)
    return Done(item, result.line["key"], result.summary)


def describe_failure(item: Item, error: Exception) -> Failure | Unexpected:
    """Return what to record of an image that failed; raise errors that would stop every image."""
    kind = type(error).__name__
    if isinstance(error, ImageError):
        return Failure(item, str(error), kind)
    is_own = isinstance(error, VocabularyError) and item.names is not None
    if is_own or isinstance(error, DeviceError | OutputError):
        return Failure(item, f'"{item.name}": {error}', kind)
    if is_out_of_memory(error):
        sentence = f'"{item.name}": There is too little memory for this image; scale it down.'
        return Failure(item, sentence, "OutOfMemory")
    if isinstance(error, OSError):
        return Failure(item, f'"{item.name}" cannot be read ({error.strerror or error}).', kind)
    if isinstance(error, OvsegError):
        raise error
    trace = "".join(traceback.format_exception(error))
    return Unexpected(Failure(item, f'"{item.name}": {kind}: {error}', kind, trace), error)
