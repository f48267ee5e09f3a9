"""A visitor's running work: which run goes on, and which has given way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ovseg_demo.errors import Cancelled

DOWNLOAD, NAMES, SUGGESTIONS, EXPORT = "download", "names", "suggestions", "export"
"""The kinds of runs besides analyses: a model is downloaded, class names are encoded or suggested, a file is
written."""

LIVE = "live"
"""The kind of run that analyzes a frame of the camera."""

PREFETCH = "prefetch"
"""The kind of run that analyzes images which are not on the page yet."""

SIDE_LANES = (DOWNLOAD, NAMES, SUGGESTIONS, EXPORT, PREFETCH)
"""Each of these kinds has a lane of its own (exports one for each format): it goes on while images are
analyzed."""

_ANALYSIS = "analysis"


@dataclass(eq=False)
class Run:
    """One piece of long work for a visitor. It goes on while it is the session's newest run of its lane.

    Attributes:
        number: identifies the run among the visitor's.
        key: what the run works on; the same key again joins the run. Its first entry is the kind of work.
        is_wanted: false once the visitor has cancelled the run or asked for something else.
        is_done: whether the run came to its end.
        prefetching: what the run is analyzing ahead: the title of an example, or the path of an image.
    """

    number: int
    key: tuple
    is_wanted: bool = True
    is_done: bool = False
    prefetching: str = ""

    @property
    def kind(self) -> str:
        """The kind of work."""
        return self.key[0]

    @property
    def lane(self) -> str:
        """A run ends the one before it in its lane."""
        if self.kind == EXPORT:
            return f"{EXPORT} {self.key[1]}"
        return self.kind if self.kind in SIDE_LANES else _ANALYSIS

    def check(self) -> None:
        """Raise :class:`Cancelled` if the run is not wanted any more."""
        if not self.is_wanted:
            raise Cancelled("The run was cancelled.")


@dataclass(eq=False)
class LiveView:
    """The camera of a visitor, live. It ends with any other analysis of the visitor's.

    Attributes:
        number: identifies the live view among the visitor's; the browser counts them.
        quick: the settings that were quick enough for one frame at least.
        slow: the settings that were too slow for the last frame.
    """

    number: int
    quick: tuple | None = None
    slow: tuple | None = None


class Runs:
    """The newest run of each lane, and the camera's live view.

    Several events may use them at the same time.

    Args:
        next_number: returns a number above all earlier ones.
        lock: guards what the runs and their results change.
    """

    def __init__(self, next_number: Callable[[], int], lock: threading.RLock):
        self._next_number = next_number
        self._lock = lock
        self._newest: dict[str, Run] = {}  # by lane
        self._live: LiveView | None = None
        self._last_view = 0  # the highest number of a live view that was started or stopped
        self._stopped_view = 0  # the highest number of one that was stopped

    @property
    def prefetching(self) -> str:
        """The title of the example, or the path of the image, that is analyzed ahead now; empty for none."""
        run = self._newest.get(PREFETCH)
        return run.prefetching if run is not None and run.is_wanted else ""

    @property
    def live(self) -> LiveView | None:
        """The live view, while there is one."""
        return self._live

    def begin(self, *key: object) -> Run | None:
        """Start a run and end the previous one of its lane; return ``None`` if the same run is under way.

        An analysis also ends the live view.
        """
        with self._lock:
            run = Run(self._next_number(), key)
            before = self._newest.get(run.lane)
            if before is not None and before.is_wanted:
                if before.key == key:
                    return None
                before.is_wanted = False
            self._newest[run.lane] = run
            if run.lane == _ANALYSIS and run.kind != LIVE:
                self._live = None
            return run

    def go_live(self, view: int) -> bool:
        """Start a live view and end the running analysis.

        Args:
            view: its number. The start and the end of a view may arrive in any order.

        Returns:
            Whether the view goes on: it has not been ended, and no newer one was started.
        """
        with self._lock:
            if view <= self._last_view:
                return False
            self._last_view = view
            self.supersede(_ANALYSIS)
            self._live = LiveView(view)
            return True

    def begin_frame(self, view: object) -> tuple[LiveView, Run | None]:
        """Start the run of a frame and end that of an older one.

        Args:
            view: the number of the live view that the frame is of, as the browser sent it.

        Returns:
            The live view, and the run; ``None`` if the live view is over.
        """
        with self._lock:
            if self._live is None or self._live.number != view:
                return LiveView(view if isinstance(view, int) else 0), None
            return self._live, self.begin(LIVE, self._next_number())

    def end_live(self, view: int) -> bool:
        """End a live view and the run of its frame; the last frame that has a map stays on the page.

        Args:
            view: its number; its start may still be on its way.

        Returns:
            Whether no newer view goes on.
        """
        with self._lock:
            self._last_view = max(self._last_view, view)
            self._stopped_view = max(self._stopped_view, view)
            if self._live is not None:
                if self._live.number > view:
                    return False
                self._live = None
                if self.is_running(LIVE):
                    self.supersede(_ANALYSIS)
            return True

    def was_stopped(self, view: int) -> bool:
        """Return whether a live view was stopped, or a newer one took its place."""
        with self._lock:
            return view <= self._stopped_view or view < self._last_view

    def finish(self, run: Run) -> bool:
        """Note that a run is over; it came to its end if it is still wanted.

        Returns:
            Whether the page still displays the run's progress: no other run displays its own.
        """
        with self._lock:
            run.is_done = run.is_wanted
            run.is_wanted = False
            return not self.is_behind(run)

    def is_newest(self, run: Run) -> bool:
        """Return whether no later run was started in its lane."""
        return self._newest.get(run.lane) is run

    def cancel(self, number: int | None = None) -> None:
        """End the running work; with a number, only that run, because the click may arrive late."""
        with self._lock:
            for run in self._newest.values():
                if number in (None, run.number):
                    run.is_wanted = False

    def supersede(self, lane: str) -> None:
        """End a lane's running work, whose result would be out of date."""
        with self._lock:
            run = self._newest.pop(lane, None)
            if run is not None:
                run.is_wanted = False

    def is_running(self, *key: object) -> bool:
        """Return whether a run is under way whose key begins so: its kind, or also what it works on."""
        with self._lock:
            return any(run.is_wanted and run.key[: len(key)] == key for run in self._newest.values())

    def is_behind(self, run: Run) -> bool:
        """Return whether the page displays another run's progress.

        An analysis comes before other work, and of other work what was started last.
        """
        with self._lock:
            return any(
                other.is_wanted and other.kind != PREFETCH and _rank(other) > _rank(run)
                for other in self._newest.values()
            )

    def number_of_progress(self, run: Run) -> int | None:
        """Return the number of a message with a run's progress; ``None`` if the page is not to display it.

        The messages of a run that comes before this one have higher numbers: a late word of this one is not
        displayed above them.
        """
        with self._lock:
            return self._next_number() if run.is_wanted and not self.is_behind(run) else None

    def end(self) -> None:
        """End all of them, and the live view."""
        with self._lock:
            self._live = None
            self.cancel()


def _rank(run: Run) -> tuple[bool, int]:
    """Return what is highest for the run whose progress the page displays."""
    return run.lane == _ANALYSIS, run.number
