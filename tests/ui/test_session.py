"""One visitor's runs and maps: the newest counts."""

import copy
import threading

import pytest

from ovseg_demo.errors import Cancelled
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import DisplayedMap, Session
from ovseg_demo.ui.uploads import UploadedImage

FIRST, SECOND = UploadedImage(1, "first.png", 4, 4), UploadedImage(2, "second.png", 4, 4)


def test_asking_for_the_same_joins_and_for_something_else_replaces():
    session = Session()
    run = session.begin("look", "first.png")
    assert session.begin("look", "first.png") is None
    assert run.is_wanted
    newer = session.begin("look", "second.png")
    assert not run.is_wanted
    with pytest.raises(Cancelled):
        run.check()
    assert not session.finish(run), "the newer run goes on"
    assert session.finish(newer)
    assert newer.is_done
    assert session.begin("look", "second.png") is not None, "what is over can be asked for again"


def test_a_download_goes_on_behind_a_look():
    session = Session()
    fetch, run = session.begin("fetch", "model"), session.begin("look", "first.png")
    assert fetch.is_wanted and run.is_wanted
    assert session.is_behind(fetch) and not session.is_behind(run)
    assert not session.finish(run), "the download goes on"
    assert not session.is_behind(fetch)
    session.cancel(fetch.number)
    assert session.finish(fetch)


def test_cancelled_runs_are_not_done():
    session = Session()
    run = session.begin("look")
    session.cancel()
    assert session.finish(run)
    assert not run.is_done


def test_a_late_cancel_spares_the_next_run():
    session = Session()
    older, newer = session.begin("look", "first.png"), session.begin("look", "second.png")
    session.cancel(older.number)
    assert newer.is_wanted
    session.cancel(newer.number)
    assert not newer.is_wanted


def test_a_run_that_is_not_wanted_changes_nothing():
    session = Session()
    run = session.begin("look")
    session.take(FIRST, run)
    session.cancel()
    with pytest.raises(Cancelled):
        session.take(SECOND, run)
    with pytest.raises(Cancelled):
        session.note_look(("look",), run)
    assert session.image is FIRST


def test_older_maps_and_maps_of_other_images_do_not_replace_newer_ones():
    session = Session()
    session.take(FIRST, session.begin("look"))
    newer, older = DisplayedMap(5, FIRST, Request(words="b")), DisplayedMap(4, FIRST, Request(words="a"))
    session.show(newer)
    session.show(older)
    session.show(DisplayedMap(6, SECOND, Request(words="c")))
    assert session.shown is newer


def test_another_image_starts_without_a_map():
    session = Session()
    session.take(FIRST, session.begin("look", 1))
    session.show(DisplayedMap(1, FIRST, Request(words="a")))
    session.note_look((1,), session.begin("look", 2))
    assert session.has_looked((1,))
    session.take(SECOND, session.begin("look", 3))
    assert session.shown is None
    assert not session.has_looked((1,))


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
    session.wanted = Request(words="mine")
    other = copy.deepcopy(session)
    assert other is not session
    assert not other.wanted.has_words
