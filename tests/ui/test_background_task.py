"""Work in a thread, seen from outside."""

import threading

import pytest

from ovseg_demo.errors import Cancelled, ModelError
from ovseg_demo.ui.background_task import BackgroundTask, Progress
from ovseg_demo.ui.runs import Run


def test_results_come_in_order_with_the_newest_progress_between_them():
    reported = threading.Event()

    def work(background):
        background.show("first")
        for done in range(3):
            background.report("Counting", done, 3)
        reported.wait(10)
        background.show("second")

    news = iter(BackgroundTask(Run(1, ()), work))
    assert next(news) == "first"
    assert next(news) == Progress("Counting", 2, 3)
    reported.set()
    assert list(news) == ["second"]


def test_errors_reach_who_iterates():
    def fail(background):
        raise ModelError("no such model")

    with pytest.raises(ModelError, match="no such model"):
        list(BackgroundTask(Run(1, ()), fail))


def test_unwanted_work_stops_at_its_next_report():
    run, stopped = Run(1, ()), threading.Event()

    def work(background):
        try:
            while True:
                background.report("Counting", 0, 1)
        except Cancelled:
            stopped.set()
            raise

    news = iter(BackgroundTask(run, work))
    next(news)
    run.is_wanted = False
    assert list(news) == []
    assert stopped.wait(10)
