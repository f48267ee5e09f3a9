"""A presenter's next images, analyzed before they are shown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

from ovseg_demo.errors import Cancelled, OvsegError
from ovseg_demo.ui.background_task import BackgroundTask
from ovseg_demo.ui.examples import Example
from ovseg_demo.ui.preload import preload_example
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.runs import PREFETCH, Run
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.uploads import read_image
from ovseg_demo.ui.work import do_in_background

_PERIOD = 0.1  # seconds between two checks whether an analysis has ended

Wanted = Example | str
"""An example, or the path of an image that the visitor uploaded."""


class Prefetcher:
    """Analyzes images ahead of a presenter; the models' caches, which are bounded in bytes, hold the results.

    Args:
        resources: what all visitors share.
    """

    def __init__(self, resources: PageResources):
        self._resources = resources

    def analyze(
        self, session: Session, wanted: Sequence[Wanted], request: Request, number: int = 0
    ) -> Iterator[None]:
        """Analyze images that may be shown next; yield nothing, from time to time.

        Where the first of them is being analyzed already, that work goes on with the others.

        Args:
            session: the visitor's. An analysis of another image ends this work.
            wanted: in the order of their analysis; none ends this work.
            request: model and settings. An example has names, generator and granularity of its own.
            number: of this call. The browser counts its calls, as they may arrive in any order.
        """
        if not session.request_prefetch(number, {_identity(one): one for one in wanted}):
            return
        if not wanted or session.runs.prefetching != _identity(wanted[0]):
            session.runs.supersede(PREFETCH)
        if not self._resources.registry.find(request.model).is_present:
            return
        done: set[str] = set()
        while _next(session, done) is not None:  # again, if more were wanted while a run came to its end
            run = session.runs.begin(PREFETCH, request.analysis_key)
            if run is None:
                return  # the run that is under way has seen what is wanted
            yield from do_in_background(session, run, partial(self._analyze_all, session, run, done, request))
            if not run.is_done:
                return

    def _analyze_all(
        self, session: Session, run: Run, done: set[str], request: Request, task: BackgroundTask[None]
    ) -> None:
        while _next(session, done) is not None:
            while session.runs.is_running("analyze"):  # which comes first, and may be about to end
                run.check()
                time.sleep(_PERIOD)
            with self._resources.turn(task.report):
                following = _next(session, done)  # the newest, as the turn may have come late
                if following is None:
                    return
                run.prefetching, one = following
                done.add(run.prefetching)
                try:
                    self._analyze(task, one, request)
                except Cancelled:
                    raise
                except OvsegError:  # whoever goes there gets the error
                    continue

    def _analyze(self, task: BackgroundTask[None], one: Wanted, request: Request) -> None:
        resources = self._resources
        registry, settings, budget = resources.registry, resources.settings, resources.budget
        if isinstance(one, Example):
            preload_example(registry, settings, one, request, budget=budget, progress=task.report)
            return
        pixels, _ = read_image(one, settings, budget)
        segmenter = registry.segmenter(request.model)
        analysis = segmenter.analyze(pixels, **resources.stages(request), progress=task.report)
        resources.note_cost(request, analysis)


def _next(session: Session, done: set[str]) -> tuple[str, Wanted] | None:
    """Return what is wanted first of what is not done, with its identity; ``None`` if all is done."""
    return next(((name, one) for name, one in session.to_prefetch.items() if name not in done), None)


def _identity(one: Wanted) -> str:
    """Return what :attr:`.session.Session.prefetching` calls an image: an example's title, or a path."""
    return one.title if isinstance(one, Example) else one
