"""What visitors can do on the page, from an image and class names to a map, without Gradio.

Each action returns *updates*: messages (:mod:`.messages`) by the channel of the page that they are for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.corrections import Correction, connected_area
from ovseg_demo.classification.text_encoder import FEW_NAMES
from ovseg_demo.errors import ModelError, OvsegError, VocabularyError
from ovseg_demo.export.formats import find_format
from ovseg_demo.models.downloads import download_model
from ovseg_demo.progress import WRITING, ProgressCallback
from ovseg_demo.segmenter import PartialAnalysisCallback
from ovseg_demo.ui import exports, messages, status_text, suggestions
from ovseg_demo.ui.background_task import BackgroundTask
from ovseg_demo.ui.corrections import REDO, UNDO, Change
from ovseg_demo.ui.live import LiveCamera
from ovseg_demo.ui.maps import MapMaker, read_names
from ovseg_demo.ui.messages import CHANNELS, Updates, empty_message, status_message
from ovseg_demo.ui.prefetch import Prefetcher
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.rivals import find_rival
from ovseg_demo.ui.runs import DOWNLOAD, EXPORT, NAMES, PREFETCH, SUGGESTIONS, Run
from ovseg_demo.ui.session import AnalyzedImage, Comparison, DisplayedMap, Session
from ovseg_demo.ui.uploads import UploadedImage, display_jpeg, open_upload
from ovseg_demo.ui.work import do_work

PREVIEW_PERIOD = 2.0
"""Seconds between two previews of a map. A shorter analysis displays none."""


class PageController:
    """What visitors can do. It holds nothing of them: that is in their :class:`Session`.

    Args:
        resources: what all visitors share.

    Attributes:
        live: the camera's live view.
        prefetcher: analyzes what a presenter may show next.
    """

    def __init__(self, resources: PageResources):
        self._resources = resources
        self._registry = resources.registry
        self._settings = resources.settings
        self._texts = resources.texts
        self._maps = MapMaker(resources)
        self.live = LiveCamera(resources, self._maps)
        self.prefetcher = Prefetcher(resources)

    # ---- what takes seconds

    def analyze(self, session: Session, path: str | None, request: Request) -> Iterator[Updates]:
        """Analyze an image and map its class names; without any, those that are suggested for it.

        The newest names count, also those that come while the analysis runs. Without a path, it is the image
        on the page that is analyzed: the camera's last frame, or an image whose file the browser has dropped
        for another one, which was refused. While the camera is live, the next frame has the names anyway.

        Raises:
            OvsegError: the image, the names or the settings cannot be used.
        """
        if not path and session.runs.live is not None:
            yield self.edit(session, request)
            return
        yield read_names(session, request, self._settings.max_names)
        image = session.image
        path = path or (image.path if image is not None else "")
        if not path and not session.is_frame:
            raise OvsegError("There is no image yet; choose an example, or upload, paste or take one.")
        if session.runs.prefetching != (session.example_of(path) or path):
            session.runs.supersede(PREFETCH)  # the image that is wanted now comes first
        run = session.runs.begin("analyze", path, request.analysis_key)
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
        rival = find_rival(key, displayed.request, self._registry, self._texts)
        if rival is None:
            raise ModelError("There is nothing of this kind to compare with; choose another comparison.")
        if rival.obstacle:
            raise ModelError(rival.obstacle)
        session.compares = key
        if session.runs.is_running("analyze"):
            return  # the analysis brings both maps
        run = session.runs.begin("compare", key, displayed.image.number, displayed.request.analysis_key)
        if run is not None:
            yield from self._work(
                session, run, lambda task: self._compare(task, session, run, analysis, displayed)
            )
            yield from self._catch_up(session, run)

    def encode(self, session: Session) -> Iterator[Updates]:
        """Map the newest class names, whose encoding takes long, as :meth:`edit` has said."""
        question = session.wanted
        analyzed = session.analyzed(question.request.analysis_key)
        if analyzed is None or question.vocabulary is None or session.runs.is_running("analyze"):
            return
        run = session.runs.begin(NAMES, question.request)
        if run is not None:
            yield from self._work(session, run, lambda task: self._encode(task, session, analyzed, question))

    def suggest(self, session: Session) -> Iterator[Updates]:
        """Suggest class names for the analyzed image, where the message "suggestions" asks for it."""
        analysis, image = session.analysis, session.image
        if analysis is None or image is None:
            return
        run = session.runs.begin(SUGGESTIONS, image.number, analysis.classifier)
        if run is not None:
            yield from self._work(session, run, lambda task: self._suggest(task, session, analysis))

    def download(self, session: Session, model: str) -> Iterator[Updates]:
        """Download a model; images can be analyzed meanwhile.

        Raises:
            OvsegError: the operator does not allow it, or the download fails.
        """
        entry = self._registry.find(model)
        if entry.spec is None or not self._settings.allow_downloads:
            raise ModelError("Models cannot be downloaded from this page; ask its operator.")
        run = session.runs.begin(DOWNLOAD, entry.name)
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
        run = session.runs.begin(EXPORT, kind, view, displayed.number)
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
            updates = read_names(session, request, self._settings.max_names)
        except VocabularyError as error:
            return {"chips": messages.problem_message(session.next_number(), str(error))}
        if session.runs.is_running("analyze"):
            return updates
        if session.is_expired:
            return updates | self._expired(session)
        session.runs.supersede(NAMES)
        question = session.wanted
        analyzed = session.analyzed(question.request.analysis_key)
        if analyzed is None:
            return updates
        number = session.next_number()
        if question.vocabulary is None:
            session.hide()
            return updates | {channel: empty_message(number) for channel in ("map", "other", "why", "status")}
        new_names = self._count_new_names(session, analyzed.analysis, question)
        if new_names > FEW_NAMES:
            return updates | {"names": {"number": number, "count": new_names}}
        return updates | self._maps.maps_or_problem(session, analyzed, question)

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
        analyzed = session.analyzed(question.request.analysis_key)
        if displayed is None or analyzed is None or question.vocabulary is None:
            raise OvsegError("There is no map to correct yet; name some classes and wait for the map.")
        change = Change.read(data, displayed.image)
        if change.kind in (UNDO, REDO):
            session.corrections.move(change.kind)
        else:
            area = self._area(displayed, analyzed.analysis, question.request.model, change)
            correction = Correction.of(area, change.name)
            session.corrections.add(correction, change.mask)
        return self._maps.maps_or_problem(session, analyzed, question)

    def clear(self, session: Session) -> Updates:
        """Forget the visitor's image."""
        session.clear()
        number = session.next_number()
        updates = {channel: empty_message(number) for channel in (*CHANNELS, "suggestions")}
        del updates["file"]
        return updates | {"chips": messages.problem_message(number, "")}

    # ---- their parts

    def _work(
        self, session: Session, run: Run, work: Callable[[BackgroundTask[Updates]], object]
    ) -> Iterator[Updates]:
        return do_work(session, run, work, self._texts)

    def _count_new_names(self, session: Session, analysis: Analysis, question: Question) -> int:
        """Return how many names the displayed maps need that must be encoded first."""
        asked = [(analysis, question)]
        comparison, of_rival = session.displayed_comparison, self._maps.rivals_question(session, question)
        if comparison is not None and of_rival is not None:
            asked.append((comparison.analysis, of_rival))
        return sum(
            one.text_encoder.count_missing(asks.vocabulary.all_names, asks.request.prompt_templates)
            for one, asks in asked
        )

    def _area(self, displayed: DisplayedMap, analysis: Analysis, model: str, change: Change) -> np.ndarray:
        """Return the area that a change names: bool (H, W). A new mask is made by the analysis's model."""
        if change.prompt is None:
            return connected_area(displayed.segmentation.label_map, change.x, change.y)
        mask = self._registry.segmenter(model).mask_at(analysis, change.prompt)
        if not mask.any():
            raise OvsegError("Segment Anything finds nothing there; choose another point, or draw a box.")
        return mask

    def _encode(
        self, task: BackgroundTask[Updates], session: Session, analyzed: AnalyzedImage, question: Question
    ) -> None:
        with self._resources.turn(task.report):
            task.show(self._maps.maps_or_problem(session, analyzed, question, task.report))

    def _analyze(
        self, task: BackgroundTask[Updates], session: Session, run: Run, path: str, request: Request
    ) -> None:
        with self._resources.turn(task.report):
            image, pixels = self._take(task, session, run, path)  # decoding, too, takes memory
            suggestions.note_example(session, image, request.prompt)
            task.report(status_text.LOADING, 0, 1)
            segmenter = self._registry.segmenter(self._resources.present(request.model).name)
            analysis = segmenter.analyze(
                pixels,
                **self._resources.stages(request),
                progress=task.report,
                on_partial=self._previews(task, session, image, request.analysis_key),
            )
            self._resources.note_cost(request, analysis)
            session.keep_analysis(analysis, request.analysis_key, run)
            self._add_comparison(session, run, analysis, request, task.report)
        self._resources.memory.touch(session)
        updates = suggestions.choose_for(session, run, analysis, self._settings.max_names, task.report)
        question = session.wanted
        if question.vocabulary is not None and question.request.analysis_key == request.analysis_key:
            analyzed = AnalyzedImage(image, analysis)
            maps = self._maps.maps(session, analyzed, question, task.report, is_new=True)
            task.show(updates | maps)
        else:
            line = status_text.ready_line(analysis, self._texts)
            task.show(updates | {"status": status_message(session.next_number(), line)})
        if not updates:
            task.show(suggestions.offer(session, analysis))

    def _take(
        self, task: BackgroundTask[Updates], session: Session, run: Run, path: str
    ) -> tuple[UploadedImage, np.ndarray]:
        """Put the file's image on the page, if it is not the one that is there already."""
        image, analysis = session.image, session.analysis
        if image is not None and image.path == path and analysis is not None:
            return image, analysis.image
        opened, pixels = open_upload(path, session.next_number(), self._settings, self._resources.budget)
        session.take(opened, run)
        url = self._resources.publish(display_jpeg(pixels), "image.jpg")
        nothing = empty_message(session.next_number())  # what was said of the image before
        shown = messages.image_message(opened, url, session.example_of(path))
        task.show({"image": shown, "suggestions": nothing, "status": nothing})
        return opened, pixels

    def _export(
        self,
        task: BackgroundTask[Updates],
        session: Session,
        displayed: DisplayedMap,
        kind: str,
        view: exports.View,
    ) -> None:
        task.report(WRITING, 0, 1)
        with self._resources.memory_for(exports.export_memory(displayed.image)):
            content, name = exports.export(
                kind,
                displayed.segmentation,
                displayed.image,
                displayed.request,
                self._registry.find(displayed.request.model).name,
                view,
                task.report,
            )
        file = self._resources.publish(content, name)
        task.show({"file": {"number": session.next_number(), "name": name, "file": file}})

    def _suggest(self, task: BackgroundTask[Updates], session: Session, analysis: Analysis) -> None:
        with self._resources.turn(task.report):
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
                analyzed = AnalyzedImage(image, partial)
                task.show(self._maps.preview(session, analyzed, question, task.report))
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
        with self._resources.turn(task.report):
            self._add_comparison(session, run, analysis, displayed.request, task.report)
        self._resources.memory.touch(session)
        question = session.wanted if session.wanted.vocabulary is not None else None
        if question is not None:
            task.show(self._maps.rivals_map(session, displayed.image, question, task.report))

    def _add_comparison(
        self, session: Session, run: Run, analysis: Analysis, request: Request, progress: ProgressCallback
    ) -> None:
        """Analyze the same image as the rival does that the page's own map is compared with, if there is one.

        Another model, or another generator, may leave nothing of this kind to compare with.
        """
        rival = find_rival(session.compares, request, self._registry, self._texts)
        if rival is None or rival.obstacle:
            session.compares = ""
            return
        stages = self._resources.stages(rival.request)
        other = self._registry.segmenter(rival.request.model).analyze(
            analysis.image, **stages, progress=progress
        )
        self._resources.note_cost(rival.request, other)
        session.keep_comparison(Comparison(rival.key, other, rival.request.model), run)

    def _renewed_notice(self, session: Session) -> Iterator[Updates]:
        """Yield the notice beside the displayed map, if there is one, as a download changes it."""
        if session.displayed is not None:
            yield {"notice": self._maps.notice(session, session.displayed, session.analysis)}

    def _catch_up(self, session: Session, run: Run) -> Iterator[Updates]:
        """Answer what was typed, and compare what was chosen, while a run came to its end."""
        wanted, displayed = session.wanted, session.displayed
        is_answered = displayed is not None and displayed.request == wanted.request
        if run.is_done and wanted.vocabulary is not None and not is_answered:
            yield self.edit(session, wanted.request)
        if run.is_done and session.compares and session.displayed and session.displayed_comparison is None:
            yield from self.compare(session, session.compares)

    def _expired(self, session: Session) -> Updates:
        return {"status": status_message(session.next_number(), self._texts["status.expired"])}
