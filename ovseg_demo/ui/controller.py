"""Leads a visitor from an image and words to a map: every step of the page, without a word of Gradio.

Each step gives *updates*: messages (:mod:`.messages`) by the channel of the page that they are for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ovseg_demo.errors import ModelError, OvsegError, VocabularyError
from ovseg_demo.models.downloads import download_model
from ovseg_demo.progress import PROPOSING, ProgressCallback, RegionWatcher, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.caching import hold
from ovseg_demo.segmentation import Segmentation, Step
from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.ui import exports, messages, status_text
from ovseg_demo.ui.background_task import Background, Progress
from ovseg_demo.ui.messages import Message, empty_message, status_message
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import FETCH, DisplayedMap, Run, Session
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import ImageStore, UploadedImage, display_jpeg

Updates = dict[str, Message]

CHANNELS = ("image", "masks", "preview", "map", "other", "why", "progress", "status", "file")
"""What the viewer listens to; "chips" goes elsewhere."""

PREVIEW_PERIOD = 2.0
"""Seconds between two previews of a map; a look whose regions are read more quickly shows none."""

_UNADAPTED = CLASSIFIERS[2]
_PLACEHOLDER = "object"  # regions can be read before there are words, but the engine wants one


class PageController:
    """What visitors can do. It remembers nothing of them: that is in their :class:`Session`.

    Args:
        registry: the models.
        settings: limits and permissions.
        publish: keeps bytes under a file name, and gives Gradio's record of that file.
    """

    def __init__(
        self, registry: ModelRegistry, settings: PageSettings, publish: Callable[[bytes, str], Message]
    ):
        self._registry = registry
        self._settings = settings
        self._publish = publish
        self._images = ImageStore(settings)
        self._turns = threading.Semaphore(settings.concurrent_analyses)

    # ---- what takes long

    def look(self, session: Session, path: str | None, request: Request) -> Iterator[Updates]:
        """Take an image in, propose its masks, read them, and draw the map if there are words.

        The newest words count, also those that come while the work goes on.

        Raises:
            OvsegError: the image, the words or the settings cannot be used.
        """
        yield self._understand(session, request)
        if not path:
            raise OvsegError("There is no image yet; choose an example, or upload, paste or take one.")
        run = session.begin("look", path, request.look)
        if run is not None:
            yield from self._work(session, run, lambda work: self._look(work, session, run, path, request))
            yield from self._catch_up(session, run)

    def compare(self, session: Session, is_on: bool) -> Iterator[Updates]:
        """Show, or cease to show, the map of the other classifier on the same masks.

        Raises:
            OvsegError: there is no other classifier.
        """
        session.compares = False
        shown = session.shown
        if not is_on or shown is None:
            return
        obstacle = self._no_comparison(shown.request)
        if obstacle:
            raise ModelError(obstacle)
        if session.is_running("look"):
            session.compares = True  # and the look will bring both maps
            return
        run = session.begin("compare", shown.image.number, shown.request.look)
        if run is not None:
            session.compares = True
            yield from self._work(session, run, lambda work: work.show(self._other(shown, work.report)))
            yield from self._catch_up(session, run)

    def fetch(self, session: Session, model: str) -> Iterator[Updates]:
        """Download a model; images can be looked at meanwhile.

        Raises:
            OvsegError: the operator does not allow it, or it cannot be had.
        """
        entry = self._registry.find(model)
        if entry.spec is None or not self._settings.allow_downloads:
            raise ModelError("Models cannot be downloaded from this page; ask its operator.")
        run = session.begin(FETCH, entry.name)
        if run is not None:
            yield from self._work(session, run, lambda work: download_model(entry.spec, progress=work.report))
            self._registry.forget(entry.name)

    # ---- what takes milliseconds

    def edit(self, session: Session, request: Request) -> Updates:
        """Answer to changed words or a moved slider: with a new map, once the first look is done."""
        number = session.next_number()
        try:
            updates = self._understand(session, request)
        except VocabularyError as error:
            return {"chips": messages.problem_message(number, str(error))}
        look = (session.image and session.image.number, request.look)
        if not session.has_looked(look) or session.is_running("look"):
            return updates
        if not request.has_words:
            session.hide()
            return updates | {channel: empty_message(number) for channel in ("map", "other", "why", "status")}
        return updates | self._maps(session, DisplayedMap(number, session.image, request))

    def explain(self, session: Session, x: int, y: int) -> Updates:
        """Why a pixel of the map is labelled as it is."""
        shown = session.shown
        if shown is None or not (0 <= x < shown.image.width and 0 <= y < shown.image.height):
            return {"why": empty_message(session.next_number())}
        segmentation = self._segment(shown.image, shown.request)
        explanation = segmentation.explain(x, y)
        why = messages.why_message(shown.image, session.next_number(), segmentation, explanation)
        return {"why": why}

    def export(self, session: Session, kind: str, view: exports.View) -> Updates:
        """A file of the map on the page.

        Raises:
            OvsegError: there is no map, or no such kind of file.
        """
        shown = session.shown
        if shown is None:
            raise OvsegError("There is no map yet; choose an image and name some classes first.")
        segmentation = self._segment(shown.image, shown.request)
        content, name = exports.export(kind, segmentation, shown.image.path, shown.request, view)
        return {"file": {"number": session.next_number(), "name": name, "file": self._publish(content, name)}}

    def clear(self, session: Session) -> Updates:
        """Forget the visitor's image."""
        session.clear()
        number = session.next_number()
        updates = {channel: empty_message(number) for channel in CHANNELS if channel != "file"}
        return updates | {"chips": messages.problem_message(number, "")}

    # ---- their parts

    def _understand(self, session: Session, request: Request) -> Updates:
        """Note the newest wishes, unless they cannot be read, and echo the words."""
        request.check()
        number = session.next_number()
        if request.has_words:
            echo = messages.chips_message(number, request.vocabulary(self._settings.max_names))
        else:
            echo = messages.problem_message(number, "")
        session.wanted = request
        return {"chips": echo}

    def _look(
        self, work: Background[Updates], session: Session, run: Run, path: str, request: Request
    ) -> None:
        image = self._take(session, run, path)
        url = self._publish(display_jpeg(self._images.pixels(image)), "image.jpg")
        work.show({"image": messages.image_message(image, url)})
        with hold(self._turns, work.report):
            self._look_at(work, session, image, request)
        session.note_look((image.number, request.look), run)

    def _look_at(
        self, work: Background[Updates], session: Session, image: UploadedImage, request: Request
    ) -> None:
        pixels = self._images.pixels(image)
        work.report(status_text.LOADING, 0, 1)
        segmenter = self._registry.segmenter(self._present(request.model).name)
        start = time.perf_counter()
        proposals = segmenter.propose(pixels, generator=request.generator or None, progress=work.report)
        proposing = Step(PROPOSING, time.perf_counter() - start, PROPOSING not in work.stages)
        work.show({"masks": messages.masks_message(image, session.next_number(), proposals)})
        previews = self._previews(work, session, image, proposals, request.look)
        newest = session.wanted
        if newest.has_words and newest.look == request.look:
            shown = DisplayedMap(session.next_number(), image, newest)
            work.show(self._maps(session, shown, work.report, proposing, previews))
        else:
            self._segment(image, replace(request, words=_PLACEHOLDER), work.report, watch=previews)
            line = status_text.ready_line(proposals, proposing)
            work.show({"status": status_message(session.next_number(), line)})

    def _previews(
        self,
        work: Background[Updates],
        session: Session,
        image: UploadedImage,
        proposals: Proposals,
        look: tuple,
    ) -> RegionWatcher:
        """What shows, now and then, the map that the newest words make of the regions read so far."""
        last = time.monotonic()

        def show(regions: np.ndarray) -> None:
            nonlocal last
            newest = session.wanted
            if time.monotonic() - last < PREVIEW_PERIOD or not newest.has_words or newest.look != look:
                return
            with suppress(VocabularyError):  # the map will tell; what has been read is not to be lost
                segmentation = self._segment(image, newest, work.report, proposals=proposals, regions=regions)
                shown = DisplayedMap(session.next_number(), image, newest)
                work.show({"preview": messages.map_message(shown, segmentation)})
            last = time.monotonic()

        return show

    def _take(self, session: Session, run: Run, path: str) -> UploadedImage:
        """The session's image, if it is this one; else this one, which becomes the session's."""
        image = session.image
        if image is None or image.path != path:
            image = self._images.open(path, session.next_number())
            session.take(image, run)
        return image

    def _maps(
        self,
        session: Session,
        shown: DisplayedMap,
        progress: ProgressCallback = no_progress,
        proposing: Step | None = None,
        previews: RegionWatcher | None = None,
    ) -> Updates:
        """The map of a request, and the other one where both are compared."""
        segmentation = self._segment(shown.image, shown.request, progress, watch=previews)
        session.show(shown)
        found = messages.found_names(segmentation)
        updates = {
            "map": messages.map_message(shown, segmentation)
            | {"noComparison": self._no_comparison(shown.request)},
            "chips": messages.chips_message(shown.number, segmentation.vocabulary, found),
            "status": status_message(shown.number, status_text.status_line(segmentation, proposing)),
        }
        return updates | self._other(shown, progress) if session.compares else updates

    def _other(self, shown: DisplayedMap, progress: ProgressCallback) -> Updates:
        request = _other_classifier(shown.request)
        segmentation = self._segment(shown.image, request, progress)
        return {"other": messages.map_message(replace(shown, request=request), segmentation)}

    def _segment(
        self,
        image: UploadedImage,
        request: Request,
        progress: ProgressCallback = no_progress,
        **options: Any,
    ) -> Segmentation:
        segmenter = self._registry.segmenter(request.model)
        pixels = self._images.pixels(image)
        return segmenter.segment(pixels, **request.arguments(), **options, progress=progress)

    def _work(
        self, session: Session, run: Run, work: Callable[[Background[Updates]], object]
    ) -> Iterator[Updates]:
        """Do something long: its updates, its progress between them, and at the end a page without it."""
        error, is_idle, was_cancelled = None, True, False
        try:
            for news in Background(run, work):
                if not isinstance(news, Progress):
                    yield news
                elif not session.is_behind(run):
                    yield {"progress": _progress(session, run, news)}
        except Exception as raised:
            error = raised
        finally:
            was_cancelled = not run.is_wanted and session.is_newest(run)
            is_idle = session.finish(run)
        ending = _ending(session, run, is_idle, was_cancelled)
        if ending:
            yield ending
        if error is not None:
            raise error

    def _catch_up(self, session: Session, run: Run) -> Iterator[Updates]:
        """Answer to what was typed while a run came to its end."""
        wanted, shown = session.wanted, session.shown
        if run.is_done and wanted.has_words and (shown is None or shown.request != wanted):
            yield self.edit(session, wanted)

    def _present(self, model: str) -> ModelEntry:
        entry = self._registry.find(model)
        if entry.is_present:
            return entry
        if self._settings.allow_downloads:
            raise ModelError(f'The model "{entry.title}" is not here yet; download it under Advanced.')
        raise ModelError(
            f'The model "{entry.title}" is not on this server; its operator can get it with '
            f'"python -m ovseg_demo download {entry.name}".'
        )

    def _no_comparison(self, request: Request) -> str:
        """Why the other classifier's map cannot be shown; empty if it can."""
        other = _other_classifier(request).classifier
        if other in self._registry.segmenter(request.model).classifiers:
            return ""
        entry = self._registry.find(request.model)
        if entry.spec is not None and "unadapted" in entry.spec.parts:
            return (
                "The un-adapted CLIP is not here yet; get it with "
                f'"python -m ovseg_demo download {entry.name} --all" and start the page again.'
            )
        return f'The model "{entry.title}" has no un-adapted CLIP to compare with.'


def _other_classifier(request: Request) -> Request:
    """The same request to the un-adapted CLIP; or, if it is already, to the adapted one."""
    is_adapted = request.classifier != _UNADAPTED
    return replace(request, classifier=_UNADAPTED if is_adapted else CLASSIFIERS[0])


def _ending(session: Session, run: Run, is_idle: bool, was_cancelled: bool) -> Updates:
    """What a run leaves of itself on the page: nothing, or that it was cancelled."""
    number = session.next_number()
    ending = {}
    if run.lane != FETCH and session.is_newest(run):
        ending["preview"] = empty_message(number)
    if is_idle:
        ending["progress"] = empty_message(number)
        if was_cancelled:
            ending["status"] = status_message(number, status_text.CANCELLED)
    return ending


def _progress(session: Session, run: Run, progress: Progress) -> Message:
    label = status_text.progress_label(progress, session.wanted.generator)
    return messages.progress_message(
        session.next_number(), run.number, label, status_text.progress_fraction(progress)
    )
