"""Who a request comes from, and what only this machine may do."""

import pytest
from starlette.requests import Request

import ovseg_demo.ui.controller
from ovseg_demo.ui.clients import RateLimit, client_of, is_local, is_loopback
from ovseg_demo.ui.model_registry import ModelRegistry
from tests.ui.colour_world import colour_segmenter
from tests.ui.http_visitor import HttpVisitor
from tests.ui.serving import serve_page

MODEL = "ovseg-r101c-vitb16"


def request_from(host, **headers):
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "client": (host, 1), "headers": pairs})


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_one_person(host, client):
    assert client_of(request_from(host)) == client


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "[::1]"])
def test_loopback_addresses(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "example.com", "", "::", "10.0.0.1"])
def test_other_addresses(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": "127.0.0.1"},
        {"x_forwarded_proto": "https"},
        {"forwarded": "for=127.0.0.1"},
        {"x_real_ip": "127.0.0.1"},
        {"via": "1.1 proxy"},
    ],
)
def test_a_request_through_a_proxy_is_not_local(headers):
    assert is_local(request_from("127.0.0.1"))
    assert not is_local(request_from("127.0.0.1", **headers))
    assert not is_local(request_from("192.168.0.1"))


def test_a_rate_is_a_burst_and_what_comes_after(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ovseg_demo.ui.clients.time.monotonic", lambda: now[0])
    rates = RateLimit(burst=2, per_second=0.5).counter()
    assert [rates.take("a"), rates.take("a"), rates.take("a"), rates.take("b")] == [0, 0, 2, 0]
    now[0] = 2.0
    assert [rates.take("a"), rates.take("a")] == [0, 2]
    rates.pay("a", 1)
    assert rates.take("a") == 4
    rates.pay("a", -100)
    assert [rates.take("a") for _ in range(3)] == [0, 0, 2], "no more than the burst is given back"


@pytest.fixture
def downloads(monkeypatch):
    """The models that were downloaded."""
    names = []
    monkeypatch.setattr(
        ovseg_demo.ui.controller, "download_model", lambda spec, progress: names.append(spec.name)
    )
    return names


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [({}, True), ({"X-Forwarded-For": "203.0.113.5"}, False), ({"Forwarded": "for=127.0.0.1"}, False)],
)
@pytest.mark.parametrize("is_local_only", [True, False])
def test_downloads_are_for_this_machine_unless_all_may(downloads, headers, is_allowed, is_local_only):
    registry = ModelRegistry.of_catalogue("sticker-world", load=lambda name, caches: colour_segmenter())
    with serve_page(registry=registry, allow_downloads=True, downloads_are_local=is_local_only) as server:
        answer = HttpVisitor(server.url, headers=headers).do("download", [None, MODEL])
    assert answer["success"] == (is_allowed or not is_local_only)
    assert downloads == ([MODEL] if answer["success"] else [])
    if not answer["success"]:
        assert "Models can be downloaded here only from the machine itself" in answer["output"]["error"]
