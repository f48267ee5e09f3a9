"""Guessing passwords is slow."""

import httpx
import pytest

from ovseg_demo.ui import login_guard
from ovseg_demo.ui.server import ServerSettings
from tests.ui.serving import serve_page


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [1000.0]

    class Clock:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(login_guard, "time", Clock)
    return now


def log_in(server, password):
    return httpx.post(f"{server.url}/login", data={"username": "ann", "password": password})


def test_each_wrong_login_makes_the_next_one_wait_longer(clock):
    with serve_page(ServerSettings(auth=(("ann", "secret"),))) as server:
        assert [log_in(server, "wrong").status_code for _ in range(5)] == [400, 400, 400, 429, 429]
        refused = log_in(server, "secret")
        assert refused.status_code == 429, "also with the right password"
        assert refused.headers["Retry-After"] == "2"
        assert refused.json()["detail"] == (
            "Too many wrong logins came from your address; try again in 2 seconds."
        )
        clock[0] += 2.1
        assert log_in(server, "wrong").status_code == 400
        assert log_in(server, "wrong").headers["Retry-After"] == "4"
        clock[0] += 4.1
        assert log_in(server, "secret").status_code == 200
        assert [log_in(server, "wrong").status_code for _ in range(4)] == [400, 400, 400, 429]


def test_the_addresses_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(login_guard, "_MOST_ADDRESSES", 10)
    guard = login_guard.LoginGuard(None)
    for number in range(100):
        guard._note_wrong(f"10.0.0.{number}")
    assert len(guard._wrong) == 10
