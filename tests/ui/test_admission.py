"""Programs and visitors have separate places; edits, Cancel and Clear always have one."""

import re
import threading
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from gradio_client import handle_file

import ovseg_demo.ui.admission as admission
from tests.ui.colour_world import SLOW_COLOUR, landscape, save_image, stripes
from tests.ui.http_visitor import HttpVisitor, values_of
from tests.ui.serving import serve_page
from tests.ui.waiting import wait_until

TINY = 16


@pytest.fixture
def image(tmp_path):
    return save_image(tmp_path / "tiny.png", landscape(TINY, TINY))


@contextmanager
def stalled(**settings):
    """A page whose endpoint works, but not before the visitor of this function says so."""
    may_go_on, has_begun = threading.Event(), threading.Event()
    with serve_page(concurrent_analyses=1, **settings) as server:
        real = server.segmenter.segment

        def slow(*arguments, **options):
            has_begun.set()
            assert may_go_on.wait(60)
            return real(*arguments, **options)

        server.segmenter.segment = slow
        try:
            yield server, has_begun, may_go_on
        finally:
            may_go_on.set()


def test_calls_that_nobody_fetches_leave_the_page_alone(image):
    with stalled() as (server, has_begun, _):
        flood = HttpVisitor(server.url)
        data = [flood.uploaded(image), "red", "sam", 0.8]
        answers = [flood.post_call(data) for _ in range(66)]
        assert has_begun.wait(30)
        taken = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(taken) + len(refused) == 66
        assert 8 <= len(taken) < 16, "half of the places are one address's"
        sentence = refused[-1].json()["detail"]
        assert re.fullmatch(
            r"8 calls from your address are running or waiting\. Try again in \d+ seconds?\.", sentence
        )
        assert refused[-1].headers["Retry-After"] == re.search(r"in (\d+)", sentence)[1]

        visitor = HttpVisitor(server.url)
        prompt = [None, *values_of(prompt="red, green", generator="sam")]
        for name, values in (("edit", prompt), ("cancel", None), ("clear", None)):
            assert visitor.do(name, values)["success"], name


def test_a_full_queue_raises_in_gradios_client(image):
    with stalled(queued_programs=2) as (server, has_begun, may_go_on):
        client = server.client()
        job = client.submit(handle_file(str(image)), "red", api_name="/segment")
        assert has_begun.wait(30)
        with pytest.raises(Exception, match="Queue is full"):
            client.predict(handle_file(str(image)), "red", api_name="/segment")
        may_go_on.set()
        assert job.result(timeout=60)


def test_an_abandoned_call_gives_its_place_back(image, monkeypatch):
    monkeypatch.setattr(admission, "PATIENCE", 0.5)
    with stalled() as (server, has_begun, may_go_on):
        program = HttpVisitor(server.url)
        data = [program.uploaded(image), "red", "sam", 0.8]
        first = program.post_call(data).json()["event_id"]
        assert has_begun.wait(30)
        second = program.post_call(data).json()["event_id"]
        wait_until(lambda: second not in server.demo._queue.event_ids_to_events)
        kind, answer = program.result(second)
        assert kind == "error"
        assert answer["error"].startswith("Nobody fetched this call's messages")
        may_go_on.set()
        assert program.result(first)[0] == "complete"


def test_private_events_obey_the_same_limits(image):
    """A program that calls them by their numbers has the places of a visitor."""
    with serve_page(concurrent_analyses=1) as server:
        program = HttpVisitor(server.url)
        joined = [program.join("analyze").status_code for _ in range(12)]
        assert 200 in joined
        edits = [program.join("edit") for _ in range(60)]
        refused = [answer for answer in edits if answer.status_code == 429]
        for answer in refused:
            assert re.search(r"Try again in \d+ seconds?\.", answer.json()["detail"])
        unknown = program.http.post(
            "gradio_api/queue/join", json={"data": [], "fn_index": 999, "session_hash": program.session}
        )
        assert unknown.status_code == 404
        assert unknown.json()["detail"].startswith("This page has no event 999")


def test_one_address_cannot_push_the_others_sessions_out(server, monkeypatch):
    monkeypatch.setattr(admission, "NEW_SESSIONS", admission.RateLimit(burst=3, per_second=0.01))
    with serve_page() as server:
        visitors = [HttpVisitor(server.url) for _ in range(5)]
        codes = [visitor.join("clear").status_code for visitor in visitors]
        assert codes == [200, 200, 200, 429, 429]
        assert visitors[0].join("clear").status_code == 200, "a session that is known is not new"


def test_results_that_nobody_fetches_are_forgotten(image, monkeypatch):
    monkeypatch.setattr(admission, "KEEP_RESULTS", 0.2)
    monkeypatch.setattr(admission, "_SWEEP_EVERY", 0.0)
    with serve_page() as server:
        queue = server.demo._queue
        program = HttpVisitor(server.url)
        program.post_call([program.uploaded(image), "red", "sam", 0.8]).raise_for_status()
        wait_until(lambda: queue.pending_messages_per_session and not queue.event_ids_to_events)

        def is_forgotten():
            program.join("clear")
            return len(queue.pending_messages_per_session) <= 1

        wait_until(is_forgotten)
        assert len(server.demo.state_holder.session_data) == 1, "that of the visitor who cleared"


def test_a_stream_that_was_opened_after_the_last_message_brings_the_next_events(monkeypatch):
    monkeypatch.setattr(admission, "_SWEEP_EVERY", 0.0)
    with serve_page() as server:
        visitor = HttpVisitor(server.url)
        visitor.do("clear")
        with visitor.stream() as late:
            HttpVisitor(server.url).do("clear")  # time for a sweep
            assert visitor.session in server.demo._queue.pending_messages_per_session, "which it reads"
            visitor.join("clear").raise_for_status()
            assert any("process_completed" in line for line in late.iter_lines())


def test_an_analysis_that_nobody_listens_to_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "PATIENCE", 0.5)
    monkeypatch.setattr(admission, "_SWEEP_EVERY", 0.1)
    slow = save_image(tmp_path / "slow.png", stripes(SLOW_COLOUR, (255, 0, 0)))
    with serve_page() as server:
        queue = server.demo._queue
        stranger = HttpVisitor(server.url)
        values = [None, stranger.uploaded(slow), *values_of(prompt="red", generator="sam")]
        stranger.join("analyze", values).raise_for_status()
        wait_until(
            lambda: any(event.fn.api_name == "analyze" for event in queue.event_ids_to_events.values())
        )

        def has_ended():
            HttpVisitor(server.url).do("clear", [None, None])  # others' events go on
            return not queue.event_ids_to_events

        wait_until(has_ended, seconds=8)  # the analysis would take ten seconds


def test_the_client_that_waited_longest_comes_first_and_who_is_not_heard_last(image):
    with serve_page() as server, ExitStack() as streams:
        queue = server.demo._queue
        queue.active_jobs = []  # nothing is started meanwhile
        clients = {
            name: HttpVisitor(server.url, transport=httpx.HTTPTransport(local_address=f"127.0.0.{number}"))
            for number, name in enumerate(("unheard", "many", "one"), start=2)
        }
        for name in ("unheard", "many", "many", "many", "one"):
            clients[name].join("edit", [None, *values_of(prompt="red")]).raise_for_status()
        for name in ("many", "one"):
            session = {"session_hash": clients[name].session}
            streams.enter_context(clients[name].http.stream("GET", "gradio_api/queue/data", params=session))
        names = {clients[name].session: name for name in clients}
        (waiting,) = [waiting.queue for waiting in queue.event_queue_per_concurrency_id.values()]
        wait_until(lambda: sum(queue._is_heard(event) for event in waiting) == 4)
        order = [names[events[0].session_hash] for events, *_ in (queue.get_events() for _ in range(5))]
        assert order == ["many", "one", "many", "many", "unheard"]
        assert queue.get_events() is None
