"""What visitors can do on the page, from an image and class names to a map, without Gradio.

Each action returns *updates*: messages (:mod:`.messages`) by the channel of the page that they are for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.corrections import Correction, connected_area
from ovseg_demo.classification.text_encoder import FEW_NAMES
from ovseg_demo.errors import Cancelled, ModelError, OvsegError, VocabularyError
from ovseg_demo.export.formats import find_format
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.models.downloads import download_model
from ovseg_demo.progress import WRITING, ProgressCallback, no_progress
from ovseg_demo.runtime.caching import hold
from ovseg_demo.runtime.threads import run_below
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import PartialAnalysisCallback
from ovseg_demo.ui import exports, messages, status_text, suggestions
from ovseg_demo.ui.advice import advice
from ovseg_demo.ui.background_task import BackgroundTask, Progress
from ovseg_demo.ui.camera import SLOWEST, FrameDropped, FrameProgress, read_frame, seconds_of
from ovseg_demo.ui.corrections import REDO, UNDO, Change
from ovseg_demo.ui.costs import Kind
from ovseg_demo.ui.examples import Example
from ovseg_demo.ui.familiarity import is_foreign
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message, empty_message, status_message
from ovseg_demo.ui.model_notice import grid_message, notice_message
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.preload import preload_example
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.rivals import Rival, find_rival, rivals
from ovseg_demo.ui.session import (
    AHEAD,
    DOWNLOAD,
    EXPORT,
    NAMES,
    SIDE_LANES,
    SUGGESTIONS,
    Comparison,
    DisplayedMap,
    LiveView,
    Run,
    Session,
)
from ovseg_demo.ui.session_memory import SessionMemory
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.status_text import rough_time
from ovseg_demo.ui.uploads import UploadedImage, display_jpeg, open_upload
from ovseg_demo.vocabularies.class_lists import load_vocabulary

Updates = dict[str, Message]

CHANNELS = (
    "image",
    "masks",
    "preview",
    "map",
    "other",
    "why",
    "notice",
    "progress",
    "status",
    "names",
    "open",
    "file",
    "live",
)
"""The channels of the viewer; "chips" and "suggestions" belong to other components."""

PREVIEW_PERIOD = 2.0
"""Seconds between two previews of a map. A shorter analysis displays none."""


class PageController:
    """What visitors can do. It holds nothing of them: that is in their :class:`Session`.

    Args:
        registry: the models.
        settings: limits and permissions.
        publish: stores bytes under a file name, and returns Gradio's record of that file.
        budget: what all visitors' images may take together while they are decoded.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: PageSettings,
        publish: Callable[[bytes, str], Message],
        budget: MemoryBudget | None = None,
    ):
        self._registry = registry
        self._settings = settings
        self._texts = settings.texts
        self._publish = publish
        self._budget = budget
        self._turns = threading.Semaphore(settings.concurrent_analyses)
        self._memory = SessionMemory(settings.analysis_memory, registry.analysis_cache)

    # ---- what takes seconds

    def analyze(self, session: Session, path: str | None, request: Request) -> Iterator[Updates]:
        """Analyze an image and map its class names; without any, those that are suggested for it.

        The newest names count, also those that come while the analysis runs. Without a path, it is the
        camera's last frame that is analyzed; while the camera is live, the next frame has the names anyway.

        Raises:
            OvsegError: the image, the names or the settings cannot be used.
        """
        if not path and session.live is not None:
            yield self.edit(session, request)
            return
        yield self._read(session, request)
        path = path or ""
        if not path and not session.is_frame:
            raise OvsegError("There is no image yet; choose an example, or upload, paste or take one.")
        if session.ahead != session.example_of(path):
            session.supersede(AHEAD)  # the image that is wanted now comes first
        run = session.begin("analyze", path, request.analysis_key)
        if run is not None:
            yield from self._work(session, run, lambda task: self._analyze(task, session, run, path, request))
            yield from self._catch_up(session, run)

    def compare(self, session: Session, key: str) -> Iterator[Updates]:
        """Display a rival's map beside the page's own, or no longer.

        Args:
            session: the visitor's.
            key: of a rival (:mod:`.rivals`); an empty one ends the comparison.

        Raises:
            OvsegError: there is no such rival, or it cannot answer.
        """
        session.compares = ""
        displayed, analysis = session.displayed, session.analysis
        if not key or displayed is None or analysis is None:
            return
        self._rival(key, displayed.request)  # so that a wrong key fails first
        session.compares = key
        if session.is_running("analyze"):
            return  # the analysis brings both maps
        run = session.begin("compare", key, displayed.image.number, displayed.request.analysis_key)
        if run is not None:
            yield from self._work(
                session, run, lambda task: self._compare(task, session, run, analysis, displayed)
            )
            yield from self._catch_up(session, run)

    def encode(self, session: Session) -> Iterator[Updates]:
        """Map the newest class names, whose encoding takes long, as :meth:`edit` has said."""
        question = session.wanted
        analysis = self._analysis_of(session, question)
        if analysis is None or question.vocabulary is None or session.is_running("analyze"):
            return
        run = session.begin(NAMES, question.request)
        if run is not None:
            yield from self._work(session, run, lambda task: self._encode(task, session, analysis, question))

    def suggest(self, session: Session) -> Iterator[Updates]:
        """Suggest class names for the analyzed image, where the message "suggestions" asks for it."""
        analysis, image = session.analysis, session.image
        if analysis is None or image is None:
            return
        run = session.begin(SUGGESTIONS, image.number, analysis.classifier)
        if run is not None:
            yield from self._work(session, run, lambda task: self._suggest(task, session, analysis))

    def analyze_ahead(
        self, session: Session, examples: Sequence[Example], request: Request
    ) -> Iterator[None]:
        """Analyze examples that may be wanted next; yield nothing, from time to time.

        Args:
            session: the visitor's. An analysis of another image ends this work.
            examples: in the order of their analysis; none ends this work.
            request: model and settings.
        """
        if not examples:
            session.supersede(AHEAD)
        elif self._registry.find(request.model).is_present:
            run = session.begin(AHEAD, [example.title for example in examples], request.analysis_key)
            if run is not None:
                yield from self._work_unseen(
                    session, run, lambda task: self._analyze_ahead(task, session, run, examples, request)
                )

    def download(self, session: Session, model: str) -> Iterator[Updates]:
        """Download a model; images can be analyzed meanwhile.

        Raises:
            OvsegError: the operator does not allow it, or the download fails.
        """
        entry = self._registry.find(model)
        if entry.spec is None or not self._settings.allow_downloads:
            raise ModelError("Models cannot be downloaded from this page; ask its operator.")
        run = session.begin(DOWNLOAD, entry.name)
        if run is None:
            return
        yield from self._renewed_notice(session)
        try:
            yield from self._work(session, run, lambda task: download_model(entry.spec, progress=task.report))
        except Exception:
            yield from self._renewed_notice(session)
            raise
        self._registry.forget(entry.name)
        yield from self._renewed_notice(session)

    def export(self, session: Session, kind: str, view: exports.View) -> Iterator[Updates]:
        """Make a file of the displayed map. Many classes or a large overlay take seconds.

        Raises:
            OvsegError: there is no map, or no such kind of file.
        """
        displayed = session.displayed
        if displayed is None:
            raise OvsegError(
                self._texts["status.expired"]
                if session.is_expired
                else "There is no map yet; choose an image and name some classes first."
            )
        find_format(kind)
        run = session.begin(EXPORT, kind, view, displayed.number)
        if run is not None:
            yield from self._work(
                session, run, lambda task: self._export(task, session, displayed, kind, view)
            )

    # ---- what takes milliseconds

    def edit(self, session: Session, request: Request) -> Updates:
        """Return the map of other class names or settings, if the image is analyzed.

        Where many names are new, the message "names" asks the page to call :meth:`encode`.
        """
        try:
            updates = self._read(session, request)
        except VocabularyError as error:
            return {"chips": messages.problem_message(session.next_number(), str(error))}
        if session.is_running("analyze"):
            return updates
        if session.is_expired:
            return updates | self._expired(session)
        session.supersede(NAMES)
        question = session.wanted
        analysis = self._analysis_of(session, question)
        if analysis is None:
            return updates
        number = session.next_number()
        if question.vocabulary is None:
            session.hide()
            return updates | {channel: empty_message(number) for channel in ("map", "other", "why", "status")}
        new_names = self._count_new_names(session, analysis, question)
        if new_names > FEW_NAMES:
            return updates | {"names": {"number": number, "count": new_names}}
        return updates | self._maps_or_problem(session, analysis, question)

    def explain(self, session: Session, x: int, y: int) -> Updates:
        """Return why a pixel of the displayed map is labelled as it is."""
        displayed, number = session.displayed, session.next_number()
        if session.is_expired:
            return self._expired(session)
        if displayed is None or not (0 <= x < displayed.image.width and 0 <= y < displayed.image.height):
            return {"why": empty_message(number)}
        segmentation = displayed.segmentation
        explanation = segmentation.explain(x, y)
        return {"why": messages.why_message(displayed.image, number, segmentation, explanation)}

    def correct(self, session: Session, data: Mapping[str, Any]) -> Updates:
        """Return the map with what a visitor corrects in it.

        Args:
            session: the visitor's.
            data: what the browser sent (:meth:`.corrections.Change.read`).

        Raises:
            OvsegError: there is no map, the change cannot be read, or no mask is found.
        """
        displayed, question = session.displayed, session.wanted
        if session.is_expired:
            return self._expired(session)
        analysis = self._analysis_of(session, question)
        if displayed is None or analysis is None or question.vocabulary is None:
            raise OvsegError("There is no map to correct yet; name some classes and wait for the map.")
        change = Change.read(data, displayed.image)
        if change.kind in (UNDO, REDO):
            session.corrections.move(change.kind)
        else:
            correction = Correction.of(self._area(displayed, analysis, change), change.name)
            session.corrections.add(correction, replaces=change.replaces)
        return self._maps_or_problem(session, analysis, question)

    def clear(self, session: Session) -> Updates:
        """Forget the visitor's image."""
        session.clear()
        number = session.next_number()
        updates = {channel: empty_message(number) for channel in (*CHANNELS, "suggestions")}
        del updates["file"]
        return updates | {"chips": messages.problem_message(number, "")}

    # ---- the camera, live

    def go_live(self, session: Session, request: Request) -> tuple[Updates, str]:
        """Start a live view: the answer to the message "live" is the first frame.

        Returns:
            The updates, and the model's quickest proposal generator.

        Raises:
            OvsegError: the model is not on this machine.
        """
        entry = self._present(request.model)
        view = session.go_live()
        number = session.next_number()
        updates = {"live": messages.live_message(number, view.number, messages.LIVE_STARTS)}
        updates |= {channel: empty_message(number) for channel in ("progress", "preview", "status")}
        return updates, entry.quickest

    def map_frame(self, session: Session, data: Mapping[str, Any], request: Request) -> Updates:
        """Return the map of a frame of the camera, with the newest class names.

        A newer frame of the session ends the work on an older one. A frame takes its turn like any analysis;
        where the turn does not come soon, the answer asks for a newer frame. The first frames of a model and
        its settings are timed: the live view ends where two of them take longer than
        :data:`.camera.SLOWEST`. The very first may be slow because the networks warm up.

        Args:
            session: the visitor's.
            data: what the browser sent: "view", and the frame as :func:`.camera.read_frame` takes it.
            request: class names and settings.

        Raises:
            OvsegError: the frame or the settings cannot be used.
        """
        view, run = session.begin_frame(data.get("view"))
        if run is None:
            return {"live": messages.live_message(session.next_number(), view.number, messages.LIVE_ENDS)}
        try:
            updates = self._read(session, request)
        except VocabularyError as error:  # the map goes on with the names before
            updates = {"chips": messages.problem_message(session.next_number(), str(error))}
        try:
            answer = run_below(lambda: self._map_frame(session, run, view, data, request))
        except (Cancelled, FrameDropped):
            event = messages.LIVE_DROPS if session.live is view else messages.LIVE_ENDS
            answer = {"live": messages.live_message(session.next_number(), view.number, event)}
        except Exception:
            session.end_live()
            raise
        finally:
            session.finish(run)
        return answer | updates if updates["chips"]["problem"] else updates | answer

    def end_live(self, session: Session) -> Updates:
        """End the live view; return what there is to see and to do for its last frame."""
        view = session.live.number if session.live is not None else 0
        session.end_live()
        image, analysis, question = session.image, session.analysis, session.wanted
        updates = {"live": messages.live_message(session.next_number(), view, messages.LIVE_ENDS)}
        if not session.is_frame or image is None or analysis is None:
            return updates
        updates["masks"] = messages.masks_message(image, session.next_number(), analysis.proposals)
        updates |= self._offer_suggestions(session, analysis)
        if question.vocabulary is None or analysis is not self._analysis_of(session, question):
            return updates
        return updates | self._maps_or_problem(session, analysis, question)

    def _map_frame(
        self, session: Session, run: Run, view: LiveView, data: Mapping[str, Any], request: Request
    ) -> Updates:
        progress = FrameProgress(run)
        with hold(self._turns, progress):
            waited = progress.waited
            image, pixels = read_frame(data, session.next_number(), self._budget)
            segmenter = self._registry.segmenter(self._present(request.model).name)
            analysis = segmenter.analyze(pixels, **self._stages_of(request), progress=progress, keep=False)
        session.take_frame(image, analysis, (image.number, request.analysis_key), run)
        seconds = seconds_of(analysis, progress.waited - waited)
        updates: Updates = {}
        if session.wanted.vocabulary is None:
            updates = self._choose_suggestions(session, run, analysis, progress)
        if seconds <= SLOWEST:
            view.quick = request.analysis_key
        elif view.slow == request.analysis_key != view.quick:
            return self.end_live(session) | updates | self._too_slow(session, view, request, seconds)
        else:
            view.slow = request.analysis_key
        return updates | self._frame_map(session, view, image, analysis, progress)

    def _frame_map(
        self,
        session: Session,
        view: LiveView,
        image: UploadedImage,
        analysis: Analysis,
        progress: ProgressCallback,
    ) -> Updates:
        """Return a frame's map, without what only a still image has: rivals, notice and masks."""
        question, updates = session.wanted, {}
        if question.vocabulary is not None:
            try:
                displayed = _answer(session, image, analysis, question, progress)
            except VocabularyError as error:  # the model knows none of the names
                updates = {"chips": messages.problem_message(session.next_number(), str(error))}
            else:
                session.display(displayed)
                updates = self._map_with_chips(session, displayed)
        self._memory.touch(session)
        live = messages.live_message(
            session.next_number(), view.number, messages.LIVE_ANSWERS, image, has_map="map" in updates
        )
        return updates | {"live": live}

    def _too_slow(self, session: Session, view: LiveView, request: Request, seconds: float) -> Updates:
        sentence = self._texts.format(
            "status.too_slow",
            model=self._registry.find(request.model).title,
            time=status_text.format_seconds(seconds),
            limit=status_text.format_seconds(SLOWEST),
        )
        number = session.next_number()
        return {
            "live": messages.live_message(number, view.number, messages.LIVE_ENDS),
            "status": status_message(number, sentence) | {"isProblem": True},
        }

    # ---- their parts

    def _memory_for(self, nbytes: int) -> AbstractContextManager[None]:
        """Hold so many bytes of the budget; wait until they are free."""
        return nullcontext() if self._budget is None else self._budget.take(nbytes)

    def _read(self, session: Session, request: Request) -> Updates:
        """Keep the newest request, unless it cannot be read, and echo its class names."""
        question = Question.read(request, self._settings.max_names)
        number = session.next_number()
        session.wanted = question
        if question.vocabulary is None:
            return {"chips": messages.problem_message(number, "")}
        return {"chips": messages.chips_message(number, question.vocabulary)}

    def _analysis_of(self, session: Session, question: Question) -> Analysis | None:
        """Return the analysis of the image on the page, if it is the one that a question needs."""
        image = session.image
        return image and session.analysis_for((image.number, question.request.analysis_key))

    def _count_new_names(self, session: Session, analysis: Analysis, question: Question) -> int:
        """Return how many names the displayed maps need that must be encoded first."""
        comparison = session.comparison
        is_compared = comparison is not None and comparison.key == session.compares
        analyses = [analysis, comparison.analysis if is_compared else None]
        names, templates = question.vocabulary.all_names, question.request.prompt_templates
        return sum(one.text_encoder.count_missing(names, templates) for one in analyses if one is not None)

    def _area(self, displayed: DisplayedMap, analysis: Analysis, change: Change) -> np.ndarray:
        """Return the area that a change names: bool (H, W)."""
        if change.prompt is None:
            return connected_area(displayed.segmentation.label_map, change.x, change.y)
        mask = self._registry.segmenter(displayed.request.model).mask_at(analysis, change.prompt)
        if not mask.any():
            raise OvsegError("Segment Anything finds nothing there; choose another point, or draw a box.")
        return mask

    def _encode(
        self, task: BackgroundTask[Updates], session: Session, analysis: Analysis, question: Question
    ) -> None:
        with hold(self._turns, task.report):
            task.show(self._maps_or_problem(session, analysis, question, task.report))

    def _analyze(
        self, task: BackgroundTask[Updates], session: Session, run: Run, path: str, request: Request
    ) -> None:
        with hold(self._turns, task.report):
            image, pixels = self._take(task, session, run, path)  # decoding, too, takes memory
            task.report(status_text.LOADING, 0, 1)
            segmenter = self._registry.segmenter(self._present(request.model).name)
            analysis = segmenter.analyze(
                pixels,
                **self._stages_of(request),
                progress=task.report,
                on_partial=self._previews(task, session, image, request.analysis_key),
            )
            self._note_cost(request, analysis)
            session.keep_analysis(analysis, (image.number, request.analysis_key), run)
            if session.compares:
                self._add_comparison(session, run, analysis, request, task.report)
        self._memory.touch(session)
        updates = self._choose_suggestions(session, run, analysis, task.report)
        question = session.wanted
        if question.vocabulary is not None and question.request.analysis_key == request.analysis_key:
            task.show(updates | self._maps(session, analysis, question, task.report, is_new=True))
        else:
            line = status_text.ready_line(analysis, self._texts)
            task.show(updates | {"status": status_message(session.next_number(), line)})
        if not updates:
            task.show(self._offer_suggestions(session, analysis))

    def _analyze_ahead(
        self,
        task: BackgroundTask[None],
        session: Session,
        run: Run,
        examples: Sequence[Example],
        request: Request,
    ) -> None:
        for example in examples:
            if session.is_running("analyze"):
                return
            with hold(self._turns, task.report):
                run.example = example.title
                preload_example(
                    self._registry,
                    self._settings,
                    example,
                    request,
                    budget=self._budget,
                    progress=task.report,
                )

    def _work_unseen(
        self, session: Session, run: Run, work: Callable[[BackgroundTask[None]], None]
    ) -> Iterator[None]:
        """Do long work whose progress, results and user errors the page does not display."""
        try:
            with suppress(OvsegError):  # who goes to the example gets the error
                for _ in BackgroundTask(run, work):
                    yield
        finally:
            session.finish(run)

    def _take(
        self, task: BackgroundTask[Updates], session: Session, run: Run, path: str
    ) -> tuple[UploadedImage, np.ndarray]:
        """Put the file's image on the page, if it is not the one that is there already."""
        image, analysis = session.image, session.analysis
        if image is not None and image.path == path and analysis is not None:
            return image, analysis.image
        opened, pixels = open_upload(path, session.next_number(), self._settings, self._budget)
        session.take(opened, run)
        url = self._publish(display_jpeg(pixels), "image.jpg")
        no_suggestions = empty_message(session.next_number())
        task.show({"image": messages.image_message(opened, url), "suggestions": no_suggestions})
        return opened, pixels

    def _choose_suggestions(
        self, session: Session, run: Run, analysis: Analysis, progress: ProgressCallback
    ) -> Updates:
        """Put suggested names in the place of an empty prompt; names typed in the meantime count instead."""
        if not suggestions.are_chosen(session, session.wanted):
            return {}
        found = analysis.suggest(suggestions.OFFERED, progress=progress)
        run.check()
        question = session.wanted
        if not found or not suggestions.are_chosen(session, question):
            return {"suggestions": messages.suggestions_message(session.next_number(), found)}
        prompt = suggestions.choose(session, question, found, self._settings.max_names).request.prompt
        number = session.next_number()
        return {"suggestions": messages.suggestions_message(number, found, prompt, question.request.prompt)}

    def _offer_suggestions(self, session: Session, analysis: Analysis) -> Updates:
        """Return suggestions, if that takes milliseconds; or else a message that asks for :meth:`suggest`."""
        if not suggestions.are_ready(analysis):
            return {"suggestions": {"number": session.next_number(), "isPending": True}}
        found = analysis.suggest(suggestions.OFFERED)
        return {"suggestions": messages.suggestions_message(session.next_number(), found)}

    def _export(
        self,
        task: BackgroundTask[Updates],
        session: Session,
        displayed: DisplayedMap,
        kind: str,
        view: exports.View,
    ) -> None:
        task.report(WRITING, 0, 1)
        with self._memory_for(exports.export_memory(displayed.image)):
            content, name = exports.export(
                kind,
                displayed.segmentation,
                displayed.image,
                displayed.request,
                self._registry.find(displayed.request.model).name,
                view,
                task.report,
            )
        file = self._publish(content, name)
        task.show({"file": {"number": session.next_number(), "name": name, "file": file}})

    def _suggest(self, task: BackgroundTask[Updates], session: Session, analysis: Analysis) -> None:
        with hold(self._turns, task.report):
            found = analysis.suggest(suggestions.OFFERED, progress=task.report)
        if session.analysis is analysis:
            message = messages.suggestions_message(session.next_number(), found)
            task.show({"suggestions": message})

    def _previews(
        self,
        task: BackgroundTask[Updates],
        session: Session,
        image: UploadedImage,
        analysis_key: tuple,
    ) -> PartialAnalysisCallback:
        """Display the masks once, and every few seconds the newest names' map of what is analyzed so far."""
        last: float | None = None

        def show(partial: Analysis) -> None:
            nonlocal last
            if last is None:
                last = time.monotonic()
                masks = messages.masks_message(image, session.next_number(), partial.proposals)
                task.show({"masks": masks})
                return
            question = session.wanted
            if time.monotonic() - last < PREVIEW_PERIOD or question.vocabulary is None:
                return
            if question.request.analysis_key != analysis_key:
                return
            with suppress(VocabularyError):  # the final map reports it; the analysis must not be lost
                displayed = _answer(session, image, partial, question, task.report)
                task.show({"preview": messages.map_message(displayed)})
            last = time.monotonic()

        return show

    def _compare(
        self,
        task: BackgroundTask[Updates],
        session: Session,
        run: Run,
        analysis: Analysis,
        displayed: DisplayedMap,
    ) -> None:
        with hold(self._turns, task.report):
            self._add_comparison(session, run, analysis, displayed.request, task.report)
        self._memory.touch(session)
        question = session.wanted if session.wanted.vocabulary is not None else None
        if question is not None:
            task.show(self._other_map(session, displayed.image, question, task.report))

    def _add_comparison(
        self, session: Session, run: Run, analysis: Analysis, request: Request, progress: ProgressCallback
    ) -> None:
        """Analyze the same image as the rival does."""
        key = session.compares
        rival = self._rival(key, request)
        other = self._registry.segmenter(rival.request.model).analyze(
            analysis.image,
            **self._stages_of(rival.request) | {"generator": rival.request.generator or analysis.generator},
            progress=progress,
        )
        self._note_cost(rival.request, other)
        session.keep_comparison(Comparison(key, other), run)

    def _rival(self, key: str, request: Request) -> Rival:
        """Return the rival of a key.

        Raises:
            ModelError: there is none, or it cannot answer.
        """
        rival = find_rival(key, request, self._registry, self._texts)
        if rival is None:
            raise ModelError("There is nothing of this kind to compare with; choose another comparison.")
        if rival.obstacle:
            raise ModelError(rival.obstacle)
        return rival

    def _maps(
        self,
        session: Session,
        analysis: Analysis,
        question: Question,
        progress: ProgressCallback = no_progress,
        is_new: bool = False,
    ) -> Updates:
        """Return the map of a question, and the rival's where both are compared."""
        displayed = _answer(session, session.image, analysis, question, progress)
        session.display(displayed)
        self._memory.touch(session)
        if session.live is not None:  # what is beside the map would change with every frame
            return self._map_with_chips(session, displayed)
        segmentation = displayed.segmentation
        line = status_text.status_line(segmentation, self._texts, analysis if is_new else None)
        updates = self._map_with_chips(session, displayed) | {
            "status": status_message(displayed.number, line),
            "notice": self._notice(session, displayed, analysis),
        }
        return updates | self._other_map(session, displayed.image, question, progress)

    def _map_with_chips(self, session: Session, displayed: DisplayedMap) -> Updates:
        segmentation = displayed.segmentation
        is_live = session.live is not None
        found = () if is_live else rivals(displayed.request, self._registry, self._texts)
        return {
            "map": messages.map_message(displayed)
            | {
                "rivals": [
                    {
                        "key": rival.key,
                        "title": rival.title,
                        "own": rival.own,
                        "obstacle": rival.obstacle,
                        "cost": self._cost(session, displayed.request, rival),
                    }
                    for rival in found
                ],
                "corrections": messages.corrections_message(segmentation, session.corrections),
            },
            "chips": messages.chips_message(
                displayed.number, segmentation.vocabulary, messages.found_names(segmentation)
            ),
        }

    def _notice(self, session: Session, displayed: DisplayedMap, analysis: Analysis | None) -> Message:
        entry = self._registry.find(displayed.request.model)
        larger = self._registry.larger(entry)
        return notice_message(
            session.next_number(),
            entry,
            larger,
            self._texts,
            advice=advice(displayed, self._texts),
            may_download=session.may_download,
            is_downloading=larger is not None and session.is_running(DOWNLOAD, larger.name),
            is_foreign=analysis is not None and _is_foreign(entry, analysis),
            grid=self._grid(displayed.request, analysis),
        )

    def _grid(self, request: Request, analysis: Analysis | None) -> Message | None:
        """Return what the notice says of Segment Anything's points."""
        kind, costs = self._kind(request), self._registry.costs
        return grid_message(
            None if analysis is None else analysis.proposals.points_per_side,
            request.points_per_side,
            lambda points: costs.estimate(kind._replace(points_per_side=points)),
            self._texts,
        )

    def _cost(self, session: Session, request: Request, rival: Rival) -> str:
        """Return what must still be computed for a comparison, in seconds where similar was measured here."""
        is_there = session.comparison is not None and session.comparison.key == rival.key
        if rival.obstacle or is_there:
            return ""
        seconds = self._registry.costs.estimate(self._kind(rival.request), known_masks=self._kind(request))
        return self._texts["status.one_analysis"] if seconds is None else rough_time(seconds, self._texts)

    def _kind(self, request: Request) -> Kind:
        """Return what the time of a request's analysis depends on."""
        entry = self._registry.find(request.model)
        return Kind(
            entry.name,
            entry.suitable(request.generator),
            self._points(request) or 0,
            request.classifier,
        )

    def _stages_of(self, request: Request) -> dict[str, Any]:
        """Return what a request asks of both stages, as :meth:`Segmenter.analyze` takes it."""
        return {
            "generator": request.generator or None,
            "points_per_side": self._points(request),
            "classifier": request.classifier,
        }

    def _points(self, request: Request) -> int | None:
        """Return the grid of points that a request's generator is asked at; ``None`` for its own."""
        return request.points_for(self._registry.find(request.model).suitable(request.generator))

    def _note_cost(self, request: Request, analysis: Analysis) -> None:
        """Note what an analysis took, for the estimates of later ones."""
        self._registry.costs.note(self._kind(request), analysis.timings, analysis.proposals.points_per_side)

    def _renewed_notice(self, session: Session) -> Iterator[Updates]:
        """Yield the notice beside the displayed map, if there is one, as a download changes it."""
        if session.displayed is not None:
            yield {"notice": self._notice(session, session.displayed, session.analysis)}

    def _maps_or_problem(
        self,
        session: Session,
        analysis: Analysis,
        question: Question,
        progress: ProgressCallback = no_progress,
    ) -> Updates:
        """Return the maps of a question, or why the model cannot use any of its names."""
        try:
            return self._maps(session, analysis, question, progress)
        except VocabularyError as error:
            return {"chips": messages.problem_message(session.next_number(), str(error))}

    def _other_map(
        self, session: Session, image: UploadedImage, question: Question, progress: ProgressCallback
    ) -> Updates:
        comparison = session.comparison
        if comparison is None or comparison.key != session.compares:
            return {}
        try:
            displayed = _answer(session, image, comparison.analysis, question, progress)
        except VocabularyError as error:  # the rival knows none of the names
            number = session.next_number()
            return {"other": empty_message(number), "status": status_message(number, str(error))}
        return {"other": messages.map_message(displayed) | {"rival": comparison.key}}

    def _work(
        self, session: Session, run: Run, work: Callable[[BackgroundTask[Updates]], object]
    ) -> Iterator[Updates]:
        """Do long work: yield its updates, its progress between them, and at the end clear the progress."""
        error, is_idle, was_cancelled = None, True, False
        try:
            for news in BackgroundTask(run, work):
                if not isinstance(news, Progress):
                    yield news
                elif not session.is_behind(run):
                    yield {"progress": _progress(session, run, news, self._texts)}
        except Exception as raised:
            error = raised
        finally:
            is_analysis = run.kind not in (DOWNLOAD, EXPORT)  # or a part of one: Submit does it again
            was_cancelled = is_analysis and not run.is_wanted and session.is_newest(run)
            is_idle = session.finish(run)
        ending = _ending(session, run, is_idle, self._texts["status.cancelled"] if was_cancelled else "")
        if ending:
            yield ending
        if error is not None:
            raise error

    def _catch_up(self, session: Session, run: Run) -> Iterator[Updates]:
        """Answer what was typed while a run came to its end."""
        wanted, displayed = session.wanted, session.displayed
        is_answered = displayed is not None and displayed.request == wanted.request
        if run.is_done and wanted.vocabulary is not None and not is_answered:
            yield self.edit(session, wanted.request)

    def _expired(self, session: Session) -> Updates:
        return {"status": status_message(session.next_number(), self._texts["status.expired"])}

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


def _answer(
    session: Session,
    image: UploadedImage,
    analysis: Analysis,
    question: Question,
    progress: ProgressCallback = no_progress,
) -> DisplayedMap:
    """Return the map of a question, with a number of its own."""
    request = replace(question.request, classifier=analysis.classifier)
    number = session.next_number()
    segmentation: Segmentation = analysis.segment(
        question.vocabulary,
        rule=request.rule,
        templates=request.prompt_templates,
        min_score=request.least_scores(question.vocabulary),
        corrections=session.corrections.current,
        progress=progress,
    )
    return DisplayedMap(number, image, request, segmentation, session.example_of(image.path))


def _is_foreign(entry: ModelEntry, analysis: Analysis) -> bool:
    """Return whether an image is of a kind that a model of a closed world does not know."""
    if entry.spec is None or not entry.spec.world:
        return False
    return is_foreign(analysis, load_vocabulary(entry.spec.world))


def _ending(session: Session, run: Run, is_idle: bool, note: str) -> Updates:
    """Return what clears a run's traces from the page, and a note in their place, where there is one."""
    number = session.next_number()
    ending = {}
    if run.kind not in SIDE_LANES and session.is_newest(run):
        ending["preview"] = empty_message(number)
    if is_idle:
        ending["progress"] = empty_message(number)
        if note:
            ending["status"] = status_message(number, note)
    return ending


def _progress(session: Session, run: Run, progress: Progress, texts: Texts) -> Message:
    label = status_text.progress_label(progress, session.wanted.request.generator, texts)
    return messages.progress_message(
        session.next_number(), run.number, label, status_text.progress_fraction(progress)
    )
