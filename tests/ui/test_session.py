"""One visitor's runs and maps: the newest counts."""

import copy
import threading

import pytest

from ovseg_demo.errors import Cancelled
from ovseg_demo.ui.request import Question, Request
from ovseg_demo.ui.session import DisplayedMap, Session
from ovseg_demo.ui.uploads import UploadedImage
from tests.ui.colour_world import colour_segmenter, landscape

FIRST, SECOND = UploadedImage(1, "first.png", 4, 4), UploadedImage(2, "second.png", 4, 4)


@pytest.fixture(scope="module")
def analysis():
    return colour_segmenter().analyze(landscape(64, 48))


def displayed(analysis, number, image):
    return DisplayedMap(number, image, Request(prompt="red, green"), analysis.segment("red, green"))


def test_asking_for_the_same_joins_and_for_something_else_replaces():
    session = Session()
    run = session.runs.begin("analyze", "first.png")
    assert session.runs.begin("analyze", "first.png") is None
    assert run.is_wanted
    newer = session.runs.begin("analyze", "second.png")
    assert not run.is_wanted
    with pytest.raises(Cancelled):
        run.check()
    assert not session.runs.finish(run), "the newer run goes on"
    assert session.runs.finish(newer)
    assert newer.is_done
    assert session.runs.begin("analyze", "second.png") is not None, "what is over can be asked for again"


def test_a_download_goes_on_behind_an_analysis():
    session = Session()
    download, run = session.runs.begin("download", "model"), session.runs.begin("analyze", "first.png")
    assert download.is_wanted and run.is_wanted
    assert session.runs.is_behind(download) and not session.runs.is_behind(run)
    assert session.runs.finish(run), "its progress gives way to the download's"
    assert not session.runs.is_behind(download)
    assert session.runs.number_of_progress(download) is not None
    session.runs.cancel(download.number)
    assert session.runs.number_of_progress(download) is None, "its last word would be late"
    assert session.runs.finish(download)


def test_of_two_works_beside_the_analysis_the_newer_is_displayed_and_then_the_older():
    session = Session()
    download, export = session.runs.begin("download", "model"), session.runs.begin("export", "coco")
    assert session.runs.is_behind(download) and not session.runs.is_behind(export)
    session.runs.begin("prefetch", "next.png")
    assert not session.runs.is_behind(export), "what is analyzed ahead has no progress on the page"
    assert session.runs.finish(export)
    assert not session.runs.is_behind(download)


def test_cancelled_runs_are_not_done():
    session = Session()
    run = session.runs.begin("analyze")
    session.runs.cancel()
    assert session.runs.finish(run)
    assert not run.is_done


def test_a_late_cancel_spares_the_next_run():
    session = Session()
    older, newer = session.runs.begin("analyze", "first.png"), session.runs.begin("analyze", "second.png")
    session.runs.cancel(older.number)
    assert newer.is_wanted
    session.runs.cancel(newer.number)
    assert not newer.is_wanted


def test_a_run_that_is_not_wanted_changes_nothing(analysis):
    session = Session()
    run = session.runs.begin("analyze")
    session.take(FIRST, run)
    session.runs.cancel()
    with pytest.raises(Cancelled):
        session.take(SECOND, run)
    with pytest.raises(Cancelled):
        session.keep_analysis(analysis, ("key",), run)
    assert session.image is FIRST
    assert session.analysis is None


def test_older_maps_and_maps_of_other_images_do_not_replace_newer_ones(analysis):
    session = Session()
    session.take(FIRST, session.runs.begin("analyze"))
    newer, older = displayed(analysis, 5, FIRST), displayed(analysis, 4, FIRST)
    session.display(newer)
    session.display(older)
    session.display(displayed(analysis, 6, SECOND))
    assert session.displayed is newer


def test_another_image_starts_without_a_map(analysis):
    session = Session()
    session.take(FIRST, session.runs.begin("analyze", 1))
    session.display(displayed(analysis, 1, FIRST))
    session.keep_analysis(analysis, ("sam",), session.runs.begin("analyze", 2))
    assert session.analyzed(("sam",)) == (FIRST, analysis)
    assert session.analyzed(("maskformer",)) is None
    session.take(SECOND, session.runs.begin("analyze", 3))
    assert session.displayed is None
    assert session.analyzed(("sam",)) is None


def test_numbers_grow_whoever_asks():
    session = Session()
    numbers = []
    threads = [
        threading.Thread(target=lambda: numbers.extend(session.next_number() for _ in range(200)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + 800))


def test_gradios_copy_is_another_visitors():
    session = Session()
    session.wanted = Question(Request(prompt="mine"))
    other = copy.deepcopy(session)
    assert other is not session
    assert not other.wanted.request.has_names
