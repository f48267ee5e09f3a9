"""The camera, live: a visitor's frames, each answered with its map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovseg_demo.errors import Cancelled, VocabularyError
from ovseg_demo.progress import ProgressCallback
from ovseg_demo.runtime.threads import run_below
from ovseg_demo.ui import messages, status_text, suggestions
from ovseg_demo.ui.camera import FrameDropped, FrameProgress, read_frame, seconds_of
from ovseg_demo.ui.maps import MapMaker, read_names
from ovseg_demo.ui.messages import Updates, empty_message, status_message
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.runs import LiveView, Run
from ovseg_demo.ui.session import AnalyzedImage, Session

SLOWEST = 2.0
"""Seconds that the analysis of a frame may take for a live view."""


class LiveCamera:
    """Starts live views, answers their frames, and ends them. It holds nothing of the visitors.

    The browser numbers the views, and each event names its view, as the events of one visitor may arrive in
    any order. It sends a frame when the answer to the one before is there. The view itself is a
    :class:`.runs.LiveView`; any other analysis of the session ends it.

    Args:
        resources: what all visitors share.
        maps: makes the maps.
    """

    def __init__(self, resources: PageResources, maps: MapMaker):
        self._resources = resources
        self._maps = maps

    def start(self, session: Session, view: object, request: Request) -> tuple[Updates, str | None]:
        """Start a live view: the answer to the message "start" is the first frame.

        Args:
            session: the visitor's.
            view: its number, as the browser sent it.
            request: the settings.

        Returns:
            The updates, and the model's quickest proposal generator; ``None`` where the view was stopped
            already.

        Raises:
            OvsegError: the model is not on this machine.
        """
        entry, number = self._resources.present(request.model), messages.counted(view)
        if not session.runs.go_live(number):
            return {}, None
        newest = session.next_number()
        updates = {"start": messages.view_message(newest, number)}
        updates |= {channel: empty_message(newest) for channel in ("progress", "preview", "status")}
        return updates, entry.quickest

    def answer(self, session: Session, data: Mapping[str, Any], request: Request) -> Updates:
        """Return the map of a frame of the camera, with the newest class names.

        A newer frame of the session ends the work on an older one. A frame takes its turn like any analysis;
        where the turn does not come soon, the answer asks for a newer frame. The first frames of a model and
        its settings are timed: the live view ends where two of them take longer than :data:`SLOWEST`. The
        very first may be slow because the networks warm up.

        Args:
            session: the visitor's.
            data: what the browser sent: "view", and the frame as :func:`.camera.read_frame` takes it.
            request: class names and settings.

        Raises:
            OvsegError: the frame or the settings cannot be used.
        """
        view, run = session.runs.begin_frame(data.get("view"))
        if run is None:
            return self._is_over(session, view.number)
        try:
            updates = read_names(session, request, self._resources.settings.max_names)
        except VocabularyError as error:  # the map goes on with the names before
            updates = {"chips": messages.problem_message(session.next_number(), str(error))}
        try:
            answer = run_below(lambda: self._answer(session, run, view, data, request))
        except (Cancelled, FrameDropped):
            if session.runs.live is view:
                drops = messages.live_message(session.next_number(), view.number, messages.LIVE_DROPS)
                answer = {"live": drops}
            else:
                answer = self._is_over(session, view.number)
        except Exception:
            session.runs.end_live(view.number)
            raise
        finally:
            session.runs.finish(run)
        return answer | updates if updates["chips"]["problem"] else updates | answer

    def stop(self, session: Session, view: object) -> Updates:
        """End a live view; return what there is to see and to do for its last frame.

        Args:
            session: the visitor's.
            view: its number, as the browser sent it. A newer view goes on.
        """
        number = messages.counted(view)
        is_over = session.runs.end_live(number)
        updates = {"still": messages.view_message(session.next_number(), number)}
        return updates | self.last_frame(session) if is_over else updates

    def last_frame(self, session: Session) -> Updates:
        """Return what there is to see and to do for the last frame, which is an image like any other.

        Where it has no map with the newest names and settings, the message "open" asks the page to analyze
        it.
        """
        image, analysis, question = session.image, session.analysis, session.wanted
        if not session.is_frame or image is None or analysis is None:
            return {}
        updates = {"masks": messages.masks_message(image, session.next_number(), analysis.proposals)}
        analyzed = session.analyzed(question.request.analysis_key)
        if question.vocabulary is None or analyzed is None:
            return updates | {"open": {"number": session.next_number(), "example": ""}}
        updates |= suggestions.offer(session, analysis)
        return updates | self._maps.maps_or_problem(session, analyzed, question)

    def _is_over(self, session: Session, view: int) -> Updates:
        """Return the message that a view is over; nothing where the browser has stopped it itself.

        A message about a view that is gone could replace one about its successor.
        """
        if session.runs.was_stopped(view):
            return {}
        return {"still": messages.view_message(session.next_number(), view)}

    def _answer(
        self, session: Session, run: Run, view: LiveView, data: Mapping[str, Any], request: Request
    ) -> Updates:
        resources, progress = self._resources, FrameProgress(run)
        with resources.turn(progress):
            waited = progress.waited
            image, pixels = read_frame(data, session.next_number(), resources.budget)
            segmenter = resources.registry.segmenter(resources.present(request.model).name)
            stages = resources.stages(request)
            analysis = segmenter.analyze(pixels, **stages, progress=progress, keep=False)
        session.take_frame(image, analysis, request.analysis_key, run)
        seconds = seconds_of(analysis, progress.waited - waited)
        updates: Updates = {}
        if session.wanted.vocabulary is None:
            updates = suggestions.choose_for(session, run, analysis, resources.settings.max_names, progress)
        if seconds <= SLOWEST:
            view.quick = request.analysis_key
        elif view.slow == request.analysis_key != view.quick:
            session.runs.end_live(view.number)
            return self.last_frame(session) | updates | self._too_slow(session, view, request, seconds)
        else:
            view.slow = request.analysis_key
        return updates | self._map(session, view, AnalyzedImage(image, analysis), progress)

    def _map(
        self, session: Session, view: LiveView, analyzed: AnalyzedImage, progress: ProgressCallback
    ) -> Updates:
        question, updates = session.wanted, {}
        if question.vocabulary is not None:
            updates = self._maps.maps_or_problem(session, analyzed, question, progress)
        self._resources.memory.touch(session)
        live = messages.live_message(
            session.next_number(),
            view.number,
            messages.LIVE_ANSWERS,
            analyzed.image,
            has_map="map" in updates,
        )
        return updates | {"live": live}

    def _too_slow(self, session: Session, view: LiveView, request: Request, seconds: float) -> Updates:
        sentence = self._resources.texts.format(
            "status.too_slow",
            model=self._resources.registry.find(request.model).title,
            time=status_text.format_seconds(seconds),
            limit=status_text.format_seconds(SLOWEST),
        )
        number = session.next_number()
        return {
            "still": messages.view_message(number, view.number),
            "status": status_message(number, sentence) | {"isProblem": True},
        }
