"""What the server holds for one visitor; visitors share nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ovseg_demo.analysis import Analysis
from ovseg_demo.errors import Cancelled
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.corrections import Corrections
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.uploads import UploadedImage

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
        number: identifies the run within its session.
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


@dataclass(frozen=True, eq=False)
class DisplayedMap:
    """The map on the page.

    Attributes:
        number: of its message.
        image: the image under it.
        request: what the visitor asked for.
        segmentation: the answer, which explanations and files are read from.
        example: the title of the example that the image is; empty for a visitor's own.
    """

    number: int
    image: UploadedImage
    request: Request
    segmentation: Segmentation
    example: str = ""


@dataclass(frozen=True)
class SuggestedPrompt:
    """The class names that were put into the prompt box, by suggestion or with an example.

    Attributes:
        prompt: the names as text.
        image: the number of the image that they are for.
        model: the model that suggested them; ``None`` for an example's, which suit every model.
    """

    prompt: str
    image: int
    model: str | None = None


class ChosenExample(NamedTuple):
    """The example that was chosen last: the file that the page has of it, its title and its class names."""

    path: str
    title: str
    prompt: str


class AnalyzedImage(NamedTuple):
    """An image on the page and its analysis.

    Attributes:
        image: the image.
        analysis: its analysis, or what is analyzed of it so far.
    """

    image: UploadedImage
    analysis: Analysis


class Comparison(NamedTuple):
    """An image as a rival analyzed it.

    Attributes:
        key: of the rival.
        analysis: its analysis.
        model: the rival's model, as :attr:`Request.model`.
    """

    key: str
    analysis: Analysis
    model: str = ""


@dataclass(eq=False)
class LiveView:
    """The camera of a visitor, live. It ends with any other analysis of the session.

    Attributes:
        number: identifies the live view within its session; the browser counts them.
        quick: the settings that were quick enough for one frame at least.
        slow: the settings that were too slow for the last frame.
    """

    number: int
    quick: tuple | None = None
    slow: tuple | None = None


class Session:
    """A visitor's image, its analysis, the newest request and the running work.

    Several events may use one session at the same time.

    Attributes:
        wanted: the newest class names and settings that could be read.
        suggested: the names that were put into the prompt box; ``None`` if the visitor typed all.
        compares: the key of the rival (:mod:`.rivals`) whose map the page also displays; empty for none.
        may_download: whether this visitor may download models to the machine.
    """

    def __init__(self) -> None:
        self.wanted = Question(Request())
        self.suggested: SuggestedPrompt | None = None
        self.compares = ""
        self.may_download = False
        self._image: UploadedImage | None = None
        self._example: ChosenExample | None = None
        self._analysis: Analysis | None = None
        self._settings: tuple | None = None  # that the analysis depends on
        self._comparison: Comparison | None = None
        self._displayed: DisplayedMap | None = None
        self._corrections = Corrections()
        self._to_prefetch: Mapping[str, Any] = {}
        self._newest_prefetch = 0  # the number of the call that asked for it
        self._live: LiveView | None = None
        self._last_view = 0  # the highest number of a live view that was started or stopped
        self._stopped_view = 0  # the highest number of one that was stopped
        self._is_expired = False
        self._runs: dict[str, Run] = {}  # the newest of each lane
        self._number = time.time_ns() // 1_000_000  # above the numbers of a server that ran before
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: dict) -> Session:
        """Return a new session. Gradio copies a state's first value for each visitor at their first event.

        Gradio would also call a function for each visitor. But it calls the function in an event of its own,
        which may run after the visitor's first click and replace the session under the running work.
        """
        return Session()

    @property
    def image(self) -> UploadedImage | None:
        """The image on the page."""
        return self._image

    @property
    def displayed(self) -> DisplayedMap | None:
        """The map on the page, if there is one."""
        return self._displayed

    @property
    def analysis(self) -> Analysis | None:
        """The analysis of the image on the page, if there is one."""
        return self._analysis

    @property
    def comparison(self) -> Comparison | None:
        """The same image, analyzed by a rival, if that was asked for."""
        return self._comparison

    @property
    def displayed_comparison(self) -> Comparison | None:
        """The comparison, if it is by the rival whose map the page displays."""
        comparison = self._comparison
        return comparison if comparison is not None and comparison.key == self.compares else None

    @property
    def corrections(self) -> Corrections:
        """What the visitor corrected in the map of the image on the page."""
        return self._corrections

    @property
    def prefetching(self) -> str:
        """The title of the example, or the path of the image, that is analyzed ahead now; empty for none."""
        run = self._runs.get(PREFETCH)
        return run.prefetching if run is not None and run.is_wanted else ""

    @property
    def to_prefetch(self) -> Mapping[str, Any]:
        """What a presenter may show next (:mod:`.prefetch`), by what :attr:`prefetching` calls it."""
        return self._to_prefetch

    def request_prefetch(self, number: int, wanted: Mapping[str, Any]) -> bool:
        """Note what a presenter may show next, unless a newer call came first; return whether it is noted.

        Args:
            number: of the call; the browser counts them.
            wanted: as :attr:`to_prefetch`.
        """
        with self._lock:
            if number < self._newest_prefetch:
                return False
            self._newest_prefetch, self._to_prefetch = number, wanted
            return True

    @property
    def live(self) -> LiveView | None:
        """The live view, while there is one."""
        return self._live

    @property
    def is_frame(self) -> bool:
        """Whether the image on the page is a frame of the camera."""
        image = self._image
        return image is not None and image.frame is not None

    @property
    def is_expired(self) -> bool:
        """Whether the analysis was dropped to make room for other visitors."""
        return self._is_expired

    def choose_example(self, path: str, title: str, prompt: str) -> None:
        """Note that a file is the example of this title and prompt; the one chosen before is forgotten."""
        self._example = ChosenExample(path, title, prompt)

    def example_of(self, path: str | None) -> str:
        """Return the title of the example that was chosen last if this is its file, else an empty text."""
        chosen = self._example
        return chosen.title if chosen is not None and chosen.path == path else ""

    def is_examples_prompt(self, path: str, prompt: str) -> bool:
        """Return whether a prompt is the own one of the example that was chosen last, if this is its file."""
        chosen = self._example
        return chosen is not None and (chosen.path, chosen.prompt) == (path, prompt)

    def next_number(self) -> int:
        """Return a number above all earlier ones. The browser keeps the message with the highest number."""
        with self._lock:
            self._number += 1
            return self._number

    # ---- runs

    def begin(self, *key: object) -> Run | None:
        """Start a run and end the previous one of its lane; return ``None`` if the same run is under way.

        An analysis also ends the live view.
        """
        with self._lock:
            run = Run(self.next_number(), key)
            before = self._runs.get(run.lane)
            if before is not None and before.is_wanted:
                if before.key == key:
                    return None
                before.is_wanted = False
            self._runs[run.lane] = run
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
            return self._live, self.begin(LIVE, self.next_number())

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
            Whether nothing runs now whose progress the page displays.
        """
        with self._lock:
            run.is_done = run.is_wanted
            run.is_wanted = False
            return not any(other.is_wanted and other.kind != PREFETCH for other in self._runs.values())

    def is_newest(self, run: Run) -> bool:
        """Return whether no later run was started in its lane."""
        return self._runs.get(run.lane) is run

    def cancel(self, number: int | None = None) -> None:
        """End the running work; with a number, only that run, because the click may arrive late."""
        with self._lock:
            for run in self._runs.values():
                if number in (None, run.number):
                    run.is_wanted = False

    def supersede(self, lane: str) -> None:
        """End a lane's running work, whose result would be out of date."""
        with self._lock:
            run = self._runs.pop(lane, None)
            if run is not None:
                run.is_wanted = False

    def is_running(self, *key: object) -> bool:
        """Return whether a run is under way whose key begins so: its kind, or also what it works on."""
        with self._lock:
            return any(run.is_wanted and run.key[: len(key)] == key for run in self._runs.values())

    def is_behind(self, run: Run) -> bool:
        """Return whether the page displays another run's progress: an analysis comes before other work."""
        with self._lock:
            return run.lane != _ANALYSIS and any(
                other.is_wanted and other.lane == _ANALYSIS for other in self._runs.values()
            )

    # ---- what is on the page

    def take(self, image: UploadedImage, run: Run) -> None:
        """Put another image on the page, without a map.

        Raises:
            Cancelled: the run is not wanted any more.
        """
        with self._lock:
            run.check()
            self._forget_image()
            self._image = image

    def keep_analysis(self, analysis: Analysis, settings: tuple, run: Run) -> None:
        """Keep the analysis of the image on the page.

        Args:
            analysis: its analysis.
            settings: what the analysis depends on besides the image.
            run: the run that made it.

        Raises:
            Cancelled: the run is not wanted any more.
        """
        with self._lock:
            run.check()
            self._analysis, self._settings, self._comparison = analysis, settings, None
            self._is_expired = False

    def take_frame(self, image: UploadedImage, analysis: Analysis, settings: tuple, run: Run) -> None:
        """Put a frame and its analysis on the page at once: a live view may end between any two calls.

        Args:
            image: the frame.
            analysis: its analysis.
            settings: as :meth:`keep_analysis` takes them.
            run: the run that made it.

        Raises:
            Cancelled: the run is not wanted any more; what is on the page stays.
        """
        with self._lock:
            self.take(image, run)
            self.keep_analysis(analysis, settings, run)

    def keep_comparison(self, comparison: Comparison, run: Run) -> None:
        """Keep a rival's analysis.

        Raises:
            Cancelled: the run is not wanted any more.
        """
        with self._lock:
            run.check()
            self._comparison = comparison

    def analyzed(self, settings: tuple) -> AnalyzedImage | None:
        """Return the image on the page and its analysis, if that was made with these settings."""
        with self._lock:
            image, analysis = self._image, self._analysis
            if image is None or analysis is None or self._settings != settings:
                return None
            return AnalyzedImage(image, analysis)

    def display(self, displayed: DisplayedMap) -> None:
        """Note which map is on the page, unless a newer map or another image is."""
        with self._lock:
            is_newer = self._displayed is None or self._displayed.number < displayed.number
            if is_newer and self._image is displayed.image:
                self._displayed = displayed

    def hide(self) -> None:
        """Note that there is no map on the page."""
        with self._lock:
            self._displayed = None

    def clear(self) -> None:
        """Forget the image and end the running work."""
        with self._lock:
            self._live = None
            self.cancel()
            self._forget_image()

    # ---- memory

    def arrays(self) -> dict[int, int]:
        """Return the bytes that the session keeps in memory, by the identity of what takes them."""
        with self._lock:
            comparison = None if self._comparison is None else self._comparison.analysis
            analyses = [analysis for analysis in (self._analysis, comparison) if analysis is not None]
            parts = [part for analysis in analyses for part in analysis.parts]
            parts += self._corrections.parts
            if self._displayed is not None:
                parts.append(self._displayed.segmentation.label_map)
            return {id(part): part.nbytes for part in parts}

    @property
    def models(self) -> set[str]:
        """The models whose analyses the session holds, as :attr:`Request.model`."""
        with self._lock:
            own = set() if self._settings is None else {self._settings[0]}
            return own if self._comparison is None else own | {self._comparison.model}

    def expire(self) -> None:
        """Drop the analysis and the map, to make room for other visitors; the image and corrections stay."""
        with self._lock:
            self._analysis = self._settings = self._comparison = self._displayed = None
            self._is_expired = True

    def forget_corrections(self) -> None:
        """Drop the corrections."""
        with self._lock:
            self._corrections = Corrections()

    def _forget_image(self) -> None:
        self._image = self._analysis = self._settings = self._comparison = self._displayed = None
        self._corrections = Corrections()
        self.compares = ""
        self._is_expired = False
