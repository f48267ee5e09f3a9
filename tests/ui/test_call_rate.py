"""Calls that come too often are held back, then refused; other addresses notice nothing."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ovseg_demo.ui.call_rate import CallLimits
from ovseg_demo.ui.clients import RateLimit
from ovseg_demo.ui.server import ServerSettings
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor
from tests.ui.serving import serve_page

RARE, OFTEN = RateLimit(burst=3, per_second=0.5), RateLimit(burst=1000, per_second=1000)


def visitor_from(server, address):
    return HttpVisitor(server.url, transport=httpx.HTTPTransport(local_address=address))


def call_at_once(call, count):
    with ThreadPoolExecutor(count) as pool:
        answers = [future.result() for future in [pool.submit(call) for _ in range(count)]]
    return answers, Counter(answer.status_code for answer in answers)


def test_events_of_the_page_are_held_back_and_then_refused(caplog):
    limits = CallLimits(page=RARE, programs=OFTEN, longest_wait=3)
    with serve_page(ServerSettings(calls=limits)) as server:
        stranger = visitor_from(server, "127.0.0.2")
        answers, codes = call_at_once(lambda: stranger.join("clear", [None, None]), 10)
        assert codes[200] >= 4, "the fourth waits for two seconds"
        assert codes[429] >= 4 and codes.total() == codes[200] + codes[429]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["detail"].startswith("Your address has called very often lately; try again in ")
        assert int(refused.headers["Retry-After"]) >= 3
        assert visitor_from(server, "127.0.0.3").do("clear", [None, None])["success"]
        assert stranger.post_call([]).status_code == 200, "programs are counted apart"
    assert not any("very often" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("path", ["call/segment", "call/nothing"])
def test_calls_of_the_endpoint_are_refused_as_a_full_queue(path):
    with serve_page(ServerSettings(calls=CallLimits(page=OFTEN, programs=RARE, longest_wait=0))) as server:
        stranger = visitor_from(server, "127.0.0.2")
        _, codes = call_at_once(lambda: stranger.http.post(f"gradio_api/{path}", json={"data": []}), 6)
        assert codes[503] >= 2


def test_uploads_are_counted_apart(tmp_path):
    image = save_image(tmp_path / "image.png", landscape())
    limits = CallLimits(page=OFTEN, programs=OFTEN, uploads=RARE, longest_wait=0)
    with serve_page(ServerSettings(calls=limits)) as server:
        stranger = visitor_from(server, "127.0.0.2")
        _, codes = call_at_once(lambda: stranger.upload(image), 6)
        assert codes[429] >= 2
        assert stranger.do("clear", [None, None])["success"]
