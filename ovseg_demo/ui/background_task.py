"""Long work in a thread, and its results and progress as an iterator."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ovseg_demo.errors import Cancelled
from ovseg_demo.runtime.threads import yield_to_others
from ovseg_demo.ui.runs import Run

T = TypeVar("T")

_PERIOD = 0.12  # seconds between two reports of progress: smooth to see, cheap to send


@dataclass(frozen=True)
class Progress:
    """The progress of a stage, as :data:`ovseg_demo.progress.ProgressCallback` gets it."""

    stage: str
    done: int
    total: int


class BackgroundTask(Generic[T]):
    """Does work in a thread. Iterating yields its results and, between them, its newest progress.

    The iterator ends when the work ends, or when the run is not wanted any more: the work then stops at its
    next report of progress. The iterator raises the work's error.

    Args:
        run: says whether the work is still wanted.
        work: called in the thread with this object; it calls :meth:`report` and :meth:`show`.
    """

    def __init__(self, run: Run, work: Callable[[BackgroundTask[T]], None]):
        self._run = run
        self._work = work
        self._news: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._progress: Progress | None = None

    def report(self, stage: str, done: int, total: int) -> None:
        """Report progress; raise :class:`Cancelled` when the work is not wanted any more."""
        self._run.check()
        self._progress = Progress(stage, done, total)

    def show(self, result: T) -> None:
        """Yield a result from the iterator."""
        self._run.check()
        self._news.put(result)

    def __iter__(self) -> Iterator[T | Progress]:
        threading.Thread(target=self._do, daemon=True).start()
        reported = None
        while self._run.is_wanted:
            try:
                news = self._news.get(timeout=_PERIOD)
            except queue.Empty:
                if self._progress is not reported:
                    reported = self._progress
                    yield reported
                continue
            if isinstance(news, _End):
                if news.error is not None:
                    raise news.error
                return
            yield news

    def _do(self) -> None:
        yield_to_others()
        try:
            self._work(self)
        except Cancelled:
            self._news.put(_End())
        except BaseException as error:
            self._news.put(_End(error))
        else:
            self._news.put(_End())


@dataclass(frozen=True)
class _End:
    """The end of the work."""

    error: BaseException | None = None
