"""What the server holds for one visitor; visitors share nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ovseg_demo.analysis import Analysis
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.corrections import Corrections
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.runs import Run, Runs
from ovseg_demo.ui.uploads import UploadedImage


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


class Session:
    """A visitor's image, its analysis, the newest request and the running work.

    Several events may use one session at the same time.

    Attributes:
        wanted: the newest class names and settings that could be read.
        suggested: the names that were put into the prompt box; ``None`` if the visitor typed all.
        compares: the key of the rival (:mod:`.rivals`) whose map the page also displays; empty for none.
        may_download: whether this visitor may download models to the machine.
        runs: the running work.
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
        self._is_expired = False
        self._number = time.time_ns() // 1_000_000  # above the numbers of a server that ran before
        self._lock = threading.RLock()
        self.runs = Runs(self.next_number, self._lock)

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
    def to_prefetch(self) -> Mapping[str, Any]:
        """What a presenter may show next (:mod:`.prefetch`), as :attr:`.runs.Run.prefetching` calls it."""
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
            self.runs.end()
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
