"""The messages of a map: the map itself, what stands beside it, and the rival's map."""

from __future__ import annotations

from dataclasses import replace

from ovseg_demo.analysis import Analysis
from ovseg_demo.errors import VocabularyError
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui import messages, status_text
from ovseg_demo.ui.advice import advice, remedies
from ovseg_demo.ui.familiarity import is_foreign
from ovseg_demo.ui.messages import Message, Updates, empty_message, status_message
from ovseg_demo.ui.model_notice import grid_message, notice_message
from ovseg_demo.ui.model_registry import ModelEntry
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.rivals import Rival, find_rival, rivals
from ovseg_demo.ui.runs import DOWNLOAD
from ovseg_demo.ui.session import AnalyzedImage, DisplayedMap, Session
from ovseg_demo.ui.status_text import rough_time
from ovseg_demo.ui.uploads import UploadedImage
from ovseg_demo.vocabularies.class_lists import load_vocabulary


class MapMaker:
    """Makes the updates that put a map on a visitor's page.

    Args:
        resources: what all visitors share.
    """

    def __init__(self, resources: PageResources):
        self._resources = resources
        self._registry = resources.registry
        self._texts = resources.texts

    def maps(
        self,
        session: Session,
        analyzed: AnalyzedImage,
        question: Question,
        progress: ProgressCallback = no_progress,
        is_new: bool = False,
    ) -> Updates:
        """Return the map of a question, and the rival's where both are compared.

        While the camera is live, there is the map alone: what is beside it would change with every frame.

        Args:
            session: the visitor's, which takes note of the map.
            analyzed: the image on the page.
            question: class names and settings.
            progress: called while names are encoded.
            is_new: whether the image was analyzed for this map.

        Raises:
            VocabularyError: the model can use none of the names.
        """
        displayed = _answer(session, analyzed, question, progress)
        session.display(displayed)
        self._resources.memory.touch(session)
        updates = self._map_with_chips(session, displayed)
        if session.runs.live is not None:
            return updates
        line = status_text.status_line(
            displayed.segmentation, self._texts, analyzed.analysis if is_new else None
        )
        updates |= {
            "status": status_message(displayed.number, line),
            "notice": self.notice(session, displayed, analyzed.analysis),
        }
        return updates | self.rivals_map(session, analyzed.image, question, progress)

    def maps_or_problem(
        self,
        session: Session,
        analyzed: AnalyzedImage,
        question: Question,
        progress: ProgressCallback = no_progress,
    ) -> Updates:
        """Return the maps of a question, or why the model cannot use any of its names."""
        try:
            return self.maps(session, analyzed, question, progress)
        except VocabularyError as error:
            return {"chips": messages.problem_message(session.next_number(), str(error))}

    def preview(
        self, session: Session, partial: AnalyzedImage, question: Question, progress: ProgressCallback
    ) -> Updates:
        """Return the map of what is analyzed so far.

        Raises:
            VocabularyError: the model can use none of the names.
        """
        return {"preview": messages.map_message(_answer(session, partial, question, progress))}

    def rivals_map(
        self, session: Session, image: UploadedImage, question: Question, progress: ProgressCallback
    ) -> Updates:
        """Return the map of the rival that the page's own is compared with; nothing without one."""
        comparison, question = session.displayed_comparison, self.rivals_question(session, question)
        if comparison is None or question is None:
            return {}
        try:
            analyzed = AnalyzedImage(image, comparison.analysis)
            displayed = _answer(session, analyzed, question, progress)
        except VocabularyError as error:  # the rival knows none of the names
            number = session.next_number()
            return {"other": empty_message(number), "status": status_message(number, str(error))}
        return {"other": messages.map_message(displayed) | {"rival": comparison.key}}

    def rivals_question(self, session: Session, question: Question) -> Question | None:
        """Return a question as it is put to the rival on the page; ``None`` without a comparison."""
        rival = find_rival(session.compares, question.request, self._registry, self._texts)
        return None if rival is None else replace(question, request=rival.request)

    def notice(self, session: Session, displayed: DisplayedMap, analysis: Analysis | None) -> Message:
        """Return the notice beside a map."""
        entry = self._registry.find(displayed.request.model)
        larger = self._registry.larger(entry)
        return notice_message(
            session.next_number(),
            entry,
            larger,
            self._texts,
            advice=advice(displayed, self._texts),
            remedies=self._remedies(displayed, analysis),
            may_download=session.may_download,
            is_downloading=larger is not None and session.runs.is_running(DOWNLOAD, larger.name),
            is_foreign=analysis is not None and _is_foreign(entry, analysis),
            grid=self._grid(displayed.request, analysis),
        )

    def _map_with_chips(self, session: Session, displayed: DisplayedMap) -> Updates:
        segmentation = displayed.segmentation
        is_live = session.runs.live is not None
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

    def _remedies(self, displayed: DisplayedMap, analysis: Analysis | None) -> list[Message]:
        if analysis is None or analysis.proposals is not displayed.segmentation.proposals:
            return []  # the map is of an analysis that is gone
        return remedies(displayed, analysis.partition, self._texts)

    def _grid(self, request: Request, analysis: Analysis | None) -> Message | None:
        """Return what the notice says of Segment Anything's points."""
        kind, costs = self._resources.kind(request), self._registry.costs
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
        kind_of = self._resources.kind
        seconds = self._registry.costs.estimate(kind_of(rival.request), known_masks=kind_of(request))
        return self._texts["status.one_analysis"] if seconds is None else rough_time(seconds, self._texts)


def read_names(session: Session, request: Request, max_names: int) -> Updates:
    """Keep the newest request, unless it cannot be read, and echo its class names.

    Raises:
        OvsegError: the names or the settings cannot be used.
    """
    question = Question.read(request, max_names)
    number = session.next_number()
    session.wanted = question
    if question.vocabulary is None:
        return {"chips": messages.problem_message(number, "")}
    return {"chips": messages.chips_message(number, question.vocabulary)}


def _answer(
    session: Session, analyzed: AnalyzedImage, question: Question, progress: ProgressCallback
) -> DisplayedMap:
    """Return the map of a question, with a number of its own."""
    image, analysis = analyzed
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
