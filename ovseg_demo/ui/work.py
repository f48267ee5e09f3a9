"""A visitor's long work in a thread, as updates of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from ovseg_demo.errors import OvsegError
from ovseg_demo.ui import messages, status_text
from ovseg_demo.ui.background_task import BackgroundTask, Progress
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message, Updates, empty_message, status_message
from ovseg_demo.ui.runs import DOWNLOAD, EXPORT, SIDE_LANES, Run
from ovseg_demo.ui.session import Session


def do_work(
    session: Session, run: Run, work: Callable[[BackgroundTask[Updates]], object], texts: Texts
) -> Iterator[Updates]:
    """Do long work: yield its updates, its progress between them, and at the end clear the progress.

    Args:
        session: the visitor's.
        run: the work's.
        work: called in a thread with the task, whose results are updates.
        texts: of the page.

    Raises:
        Exception: what the work raises, after the progress is cleared.
    """
    error, is_displayed, was_cancelled = None, True, False
    try:
        for news in BackgroundTask(run, work):
            if not isinstance(news, Progress):
                yield news
            elif (number := session.runs.number_of_progress(run)) is not None:
                yield {"progress": _progress(number, session, run, news, texts)}
    except Exception as raised:
        error = raised
    finally:
        is_analysis = run.kind not in (DOWNLOAD, EXPORT)  # or a part of one: Submit does it again
        was_cancelled = is_analysis and not run.is_wanted and session.runs.is_newest(run)
        is_displayed = session.runs.finish(run)
    ending = _ending(session, run, is_displayed, texts["status.cancelled"] if was_cancelled else "")
    if ending:
        yield ending
    if error is not None:
        raise error


def do_in_background(
    session: Session, run: Run, work: Callable[[BackgroundTask[None]], None]
) -> Iterator[None]:
    """Do long work whose progress, results and user errors the page does not display."""
    try:
        with suppress(OvsegError):  # who asks for the result gets the error
            for _ in BackgroundTask(run, work):
                yield
    finally:
        session.runs.finish(run)


def _ending(session: Session, run: Run, is_displayed: bool, note: str) -> Updates:
    """Return what clears a run's traces from the page, and a note in their place, where there is one.

    Work that goes on behind the run displays its own progress next.
    """
    number = session.next_number()
    ending = {}
    if run.kind not in SIDE_LANES and session.runs.is_newest(run):
        ending["preview"] = empty_message(number)
    if is_displayed:
        ending["progress"] = empty_message(number)
        if note:
            ending["status"] = status_message(number, note)
    return ending


def _progress(number: int, session: Session, run: Run, progress: Progress, texts: Texts) -> Message:
    label = status_text.progress_label(progress, session.wanted.request.generator, texts)
    return messages.progress_message(number, run.number, label, status_text.progress_fraction(progress))
