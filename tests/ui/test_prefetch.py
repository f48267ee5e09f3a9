"""Examples are analyzed ahead for a presenter, and stand in nobody's way."""

from pathlib import Path

import pytest

from ovseg_demo.ui.examples import PHOTOGRAPH, Example
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.runs import PREFETCH
from ovseg_demo.ui.session import Session
from tests.ui import colour_world
from tests.ui.colour_world import MEADOW, SKY, save_image, stripes
from tests.ui.http_visitor import HttpVisitor, values_of
from tests.ui.serving import serve_page
from tests.ui.updates import REQUEST, analyze, clears, collect, found
from tests.ui.waiting import wait_until


@pytest.fixture
def following(tmp_path):
    path = save_image(tmp_path / "stripes.png", stripes(SKY, MEADOW))
    return Example(path, "Stripes", "skyblue, green", "maskformer", 0.5, PHOTOGRAPH)


@pytest.fixture
def slow(slow_image):
    return Example(Path(slow_image), "Slow", "red, magenta", kind=PHOTOGRAPH)


def begun(controller, session, *examples):
    """The work on the first of these examples, as it is under way."""
    work = controller.prefetcher.analyze(session, examples, REQUEST)
    next(work)
    wait_until(lambda: session.runs.prefetching == examples[0].title)
    return work


def test_an_example_that_was_analyzed_ahead_comes_from_the_cache(controller, following):
    list(controller.prefetcher.analyze(Session(), [following], REQUEST))
    request = Request(prompt=following.prompt, generator="maskformer", granularity=0.5)
    _, newest = analyze(controller, str(following.path), request)
    assert found(newest["map"]) == ["skyblue", "green"]
    assert "2 masks from the cache" in newest["status"]["text"]
    assert "names from the cache" in newest["status"]["text"]


def test_the_page_asks_for_examples_by_their_places(following):
    with serve_page(examples=[following]) as server:
        for wanted in ([7, "0", None], "0", [0]):
            assert len(server.segmenter.caches.analyses) == 0
            visitor = HttpVisitor(server.url)
            answer = visitor.do("prefetch", [None, *values_of()], {"examples": wanted})
            assert answer["success"]
        assert len(server.segmenter.caches.analyses) > 0


def test_an_uploaded_image_that_was_analyzed_ahead_comes_from_the_cache(tmp_path, following):
    broken, image = tmp_path / "broken.png", save_image(tmp_path / "waits.png", stripes(MEADOW, SKY))
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    with serve_page(examples=[following]) as server:
        visitor = HttpVisitor(server.url)
        values = values_of(prompt="skyblue, green", generator="maskformer")
        paths = [visitor.uploaded(one)["path"] for one in (broken, image)]
        for foreign in (str(image), "/etc/hostname", "a\0b"):
            refused = visitor.do("prefetch", [None, *values], {"images": [foreign]})
            assert "was not uploaded" in refused["output"]["error"]
        assert visitor.do("prefetch", [None, *values], {"images": paths, "examples": [0]})["success"]
        for one in (image, following.path):
            answer = visitor.do("analyze", [None, visitor.uploaded(one), *values])
            assert "2 masks from the cache" in answer["output"]["data"][0]["props"]["status"]["text"]


def test_an_image_that_is_shown_while_it_is_analyzed_ahead_is_analyzed_once(controller, slow_image):
    session = Session()
    work = controller.prefetcher.analyze(session, [slow_image], REQUEST)
    next(work)
    wait_until(lambda: session.runs.prefetching == slow_image)
    shown = controller.analyze(session, slow_image, REQUEST)
    next(shown)
    next(shown)
    assert session.runs.is_running(PREFETCH), "the work goes on, and both get its result"
    shown.close()
    work.close()


def test_work_ahead_blocks_no_edit_and_no_progress_of_the_page(controller, image, following, slow):
    session, _ = analyze(controller, image)
    session.choose_example(image, "Slow", "red")  # so that its analysis does not end the work
    work = begun(controller, session, slow, following)
    assert found(controller.edit(session, Request(prompt="yellow"))["map"]) == ["yellow"]
    updates = list(controller.analyze(session, image, REQUEST))
    assert clears(updates[-1], "progress", "preview")
    assert session.runs.is_running(PREFETCH)
    work.close()


def test_what_is_wanted_later_joins_the_work_that_is_under_way(controller, slow, image, monkeypatch):
    session = Session()
    work = begun(controller, session, slow)
    assert list(controller.prefetcher.analyze(session, [slow, image], REQUEST)) == []
    assert session.runs.prefetching == "Slow", "it is not analyzed anew"
    monkeypatch.setattr(colour_world, "SLOW_STEP", 0)
    wait_until(lambda: next(work, "over") == "over")
    assert not session.runs.is_running(PREFETCH)
    _, newest = analyze(controller, image)
    assert "masks from the cache" in newest["status"]["text"]


def test_calls_may_arrive_in_any_order(controller, image, following):
    session = Session()
    list(controller.prefetcher.analyze(session, [image, following], REQUEST, number=2))
    list(controller.prefetcher.analyze(session, [following], REQUEST, number=1))
    assert list(session.to_prefetch) == [image, "Stripes"]


def test_another_image_ends_the_work_ahead(controller, image, slow):
    session = Session()
    work = begun(controller, session, slow)
    newest = collect(controller.analyze(session, image, REQUEST))
    assert found(newest["map"])
    assert not session.runs.is_running(PREFETCH)
    assert list(work) == [], "and nothing is left to do"
    assert not session.runs.prefetching


def test_the_end_of_the_presentation_and_a_closed_page_end_the_work(controller, slow):
    for end in (
        lambda work, session: list(controller.prefetcher.analyze(session, [], REQUEST)),
        lambda work, session: work.close(),
    ):
        session = Session()
        work = begun(controller, session, slow)
        end(work, session)
        assert not session.runs.is_running(PREFETCH)


def test_an_example_that_cannot_be_read_is_reported_when_it_is_chosen(controller, tmp_path):
    gone = Example(tmp_path / "gone.png", "Gone", "red", kind=PHOTOGRAPH)
    assert not list(controller.prefetcher.analyze(Session(), [gone], REQUEST))
