"""Suggested class names on the page: when they take the place of a prompt, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.suggestions import Suggestion
from ovseg_demo.progress import ProgressCallback
from ovseg_demo.ui import messages
from ovseg_demo.ui.messages import Updates
from ovseg_demo.ui.request import Question
from ovseg_demo.ui.runs import Run
from ovseg_demo.ui.session import Session, SuggestedPrompt
from ovseg_demo.ui.uploads import UploadedImage

OFFERED = 12
"""How many names are offered as chips."""

CHOSEN = 6
"""How many of them, the best ones, an empty prompt box gets."""


def are_ready(analysis: Analysis) -> bool:
    """Return whether names can be suggested in milliseconds: the candidates are encoded."""
    names = [candidate.name for candidate in analysis.candidates]
    return analysis.text_encoder.count_missing(names, analysis.suggestion_templates) == 0


def are_chosen(session: Session, question: Question) -> bool:
    """Return whether suggested names are to be mapped, because the visitor has named none for this image.

    The prompt is empty, or it holds names that were suggested for another image or by another model, or those
    of an example that was on the page before.
    """
    before, image = session.suggested, session.image
    if question.vocabulary is None or before is None or image is None:
        return question.vocabulary is None
    if question.request.prompt != before.prompt:
        return False
    return before.image != image.number or before.model not in (None, question.request.model)


def note_example(session: Session, image: UploadedImage, prompt: str) -> None:
    """Note that a prompt is that of the example on the page, so that another image gets names of its own."""
    if session.is_examples_prompt(image.path, prompt):
        session.suggested = SuggestedPrompt(prompt, image.number)


def choose(
    session: Session, question: Question, suggestions: Sequence[Suggestion], max_names: int
) -> Question:
    """Return the question with the best suggestions as its class names; the session takes note of them.

    Args:
        session: of the visitor, with an image.
        question: the newest one, whose prompt they replace.
        suggestions: at least one.
        max_names: how many names a visitor may give.
    """
    names = [suggestion.name for suggestion in suggestions[: min(CHOSEN, max_names)]]
    request = replace(question.request, prompt=", ".join(names))
    session.suggested = SuggestedPrompt(request.prompt, session.image.number, request.model)
    session.wanted = Question.read(request, max_names)
    return session.wanted


def choose_for(
    session: Session, run: Run, analysis: Analysis, max_names: int, progress: ProgressCallback
) -> Updates:
    """Put suggested names in the place of an empty prompt; names typed in the meantime count instead.

    Args:
        session: of the visitor.
        run: which may end meanwhile.
        analysis: of the image on the page.
        max_names: how many names a visitor may give.
        progress: called while the candidates are encoded.

    Raises:
        Cancelled: the run is not wanted any more.
    """
    if not are_chosen(session, session.wanted):
        return {}
    found = analysis.suggest(OFFERED, progress=progress)
    run.check()
    question = session.wanted
    if not found or not are_chosen(session, question):
        return {"suggestions": messages.suggestions_message(session.next_number(), found)}
    prompt = choose(session, question, found, max_names).request.prompt
    number = session.next_number()
    return {"suggestions": messages.suggestions_message(number, found, prompt, question.request.prompt)}


def offer(session: Session, analysis: Analysis) -> Updates:
    """Return suggestions, if that takes milliseconds; or else a message that asks for them as long work."""
    if not are_ready(analysis):
        return {"suggestions": {"number": session.next_number(), "isPending": True}}
    found = analysis.suggest(OFFERED)
    return {"suggestions": messages.suggestions_message(session.next_number(), found)}
