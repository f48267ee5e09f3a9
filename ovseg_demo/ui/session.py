"""What the page remembers of one visitor; visitors share nothing of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from ovseg_demo.errors import Cancelled
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.uploads import UploadedImage

FETCH = "fetch"
"""The kind of a run that downloads."""


@dataclass(eq=False)
class Run:
    """One piece of long work for a visitor; while it is the session's newest of its lane, it goes on.

    Attributes:
        number: tells it from the session's others.
        key: what is worked on; asking for the same again joins in. Its first entry is the kind of work.
        is_wanted: false as soon as the visitor has cancelled it or asked for something else.
        is_done: whether it came to its end.
    """

    number: int
    key: tuple
    is_wanted: bool = True
    is_done: bool = False

    @property
    def kind(self) -> str:
        """What work it is."""
        return self.key[0]

    @property
    def lane(self) -> str:
        """Downloads have one of their own: they go on while images are looked at."""
        return FETCH if self.kind == FETCH else "look"

    def check(self) -> None:
        """Raise :class:`Cancelled` when the run is not wanted any more."""
        if not self.is_wanted:
            raise Cancelled("The run was cancelled.")


@dataclass(frozen=True)
class DisplayedMap:
    """The map on the page: the number of its message, and what it was made from."""

    number: int
    image: UploadedImage
    request: Request


class Session:
    """A visitor's image, wishes and running work. Several events may use it at once.

    Attributes:
        wanted: the newest words and settings.
        compares: whether the other classifier's map is shown too.
    """

    def __init__(self) -> None:
        self.wanted = Request()
        self.compares = False
        self._image: UploadedImage | None = None
        self._looked: tuple | None = None
        self._shown: DisplayedMap | None = None
        self._runs: dict[str, Run] = {}  # the newest of each lane
        self._number = time.time_ns() // 1_000_000  # beyond those of a server that ran before under this page
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict) -> Session:
        """A new one. Gradio copies a state's first value for each visitor, when they first do something.

        It would also call a function for each. But that is an event like others, which may come after the
        visitor's first click, and then take the image from under the work.
        """
        return Session()

    @property
    def image(self) -> UploadedImage | None:
        """The one on the page."""
        return self._image

    @property
    def shown(self) -> DisplayedMap | None:
        """The map on the page, if there is one."""
        return self._shown

    def next_number(self) -> int:
        """A number higher than all before: what comes later is newer, and the browser keeps the newest."""
        with self._lock:
            self._number += 1
            return self._number

    # ---- runs

    def begin(self, *key: object) -> Run | None:
        """Start a run and end the one before in its lane; ``None`` if just this is under way already."""
        with self._lock:
            run = Run(self.next_number(), key)
            before = self._runs.get(run.lane)
            if before is not None and before.is_wanted:
                if before.key == key:
                    return None
                before.is_wanted = False
            self._runs[run.lane] = run
            return run

    def finish(self, run: Run) -> bool:
        """Note that a run is over: at its end, if it is wanted still.

        Returns:
            Whether nothing runs now; not so if another run has taken its place, or goes on beside it.
        """
        with self._lock:
            run.is_done = run.is_wanted
            run.is_wanted = False
            return not any(other.is_wanted for other in self._runs.values())

    def is_newest(self, run: Run) -> bool:
        """Whether no run has been started in its lane since."""
        return self._runs[run.lane] is run

    def cancel(self, number: int | None = None) -> None:
        """End the runs that are under way; with a number, only that one: the wish may come late."""
        with self._lock:
            for run in self._runs.values():
                if number in (None, run.number):
                    run.is_wanted = False

    def is_running(self, kind: str) -> bool:
        """Whether a run of a kind is under way."""
        with self._lock:
            return any(run.is_wanted and run.kind == kind for run in self._runs.values())

    def is_behind(self, run: Run) -> bool:
        """Whether the page has another run's progress to tell: a look's rather than a download's."""
        with self._lock:
            return run.lane == FETCH and any(
                other.is_wanted and other.lane != FETCH for other in self._runs.values()
            )

    # ---- what is on the page

    def take(self, image: UploadedImage, run: Run) -> None:
        """Put another image on the page, with no map yet; a run that is not wanted any more may not."""
        with self._lock:
            run.check()
            self._image, self._looked, self._shown, self.compares = image, None, None, False

    def note_look(self, look: tuple, run: Run) -> None:
        """Remember that the first look at the image is done."""
        with self._lock:
            run.check()
            self._looked = look

    def has_looked(self, look: tuple) -> bool:
        """Whether only milliseconds are missing to a map of the image."""
        return self._image is not None and self._looked == look

    def show(self, shown: DisplayedMap) -> None:
        """Note what the map was made from, unless there is a newer one or another image."""
        with self._lock:
            is_newer = self._shown is None or self._shown.number < shown.number
            if is_newer and self._image is shown.image:
                self._shown = shown

    def hide(self) -> None:
        """Note that there is no map any more."""
        with self._lock:
            self._shown = None

    def clear(self) -> None:
        """Forget the image and end what runs."""
        with self._lock:
            self.cancel()
            self._image, self._looked, self._shown, self.compares = None, None, None, False
