"""A client of the page without a browser, which sends the events of a browser and reads the maps."""

from __future__ import annotations

import base64
import json
import mimetypes
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from gradio_client.utils import apply_diff

from ovseg_demo.ui.request import Request

Answer = tuple[tuple[str, ...], np.ndarray]
"""Class names, and the label map: int32 (height, width), with -1 for unlabelled pixels."""

_PATIENCE = httpx.Timeout(60, read=None)


class PageError(RuntimeError):
    """The page answered with an error, or without a map."""


class PageClient:
    """One visitor, who does one thing at a time.

    Args:
        url: the page's address.
        login: the user name and password, where the page asks for them.
        transport: how it connects.
    """

    def __init__(
        self, url: str, login: tuple[str, str] | None = None, transport: httpx.HTTPTransport | None = None
    ):
        self._http = httpx.Client(base_url=f"{url.rstrip('/')}/", timeout=_PATIENCE, transport=transport)
        if login is not None:
            name, password = login
            self._http.post("login", data={"username": name, "password": password}).raise_for_status()
        events = self._http.get("config").raise_for_status().json()["dependencies"]
        self._events = {event["api_name"]: event["id"] for event in events}
        self.visitor = uuid.uuid4().hex

    def analyze(self, image: Path, request: Request) -> Answer:
        """Upload an image, request its analysis with class names, and return the answer."""
        kind = mimetypes.guess_type(image)[0] or "application/octet-stream"
        files = {"files": (image.name, image.read_bytes(), kind)}
        (path,) = self._http.post("gradio_api/upload", files=files).raise_for_status().json()
        file = {"path": path, "orig_name": image.name, "meta": {"_type": "gradio.FileData"}}
        return self._ask("analyze", [None, file, *request_values(request)])

    def edit(self, request: Request) -> Answer:
        """Send other class names or another granularity for the same image, and return the answer."""
        return self._ask("edit", [None, *request_values(request)])

    def press(self, event: str, values: list[Any]) -> None:
        """Send an event that brings no map, such as Cancel or Clear.

        Raises:
            httpx.HTTPStatusError: the page does not take it.
        """
        join = {"data": values, "fn_index": self._events[event], "session_hash": self.visitor}
        self._http.post("gradio_api/queue/join", json=join).raise_for_status()
        for _ in self._updates():
            pass

    def _ask(self, event: str, values: list[Any]) -> Answer:
        join = {"data": values, "fn_index": self._events[event], "session_hash": self.visitor}
        self._http.post("gradio_api/queue/join", json=join).raise_for_status()
        newest = None
        for updates in self._updates():
            newest = updates.get("map") or newest
        if newest is None:
            raise PageError("The page's answer has no map.")
        return _read_map(newest)

    def _updates(self) -> Iterator[dict[str, Any]]:
        """Yield the viewer's properties after each update, until the event ends."""
        data: list[Any] = []
        query = {"session_hash": self.visitor}
        with self._http.stream("GET", "gradio_api/queue/data", params=query) as stream:
            for line in filter(None, stream.iter_lines()):
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] == "close_stream":
                    return
                if message["msg"] not in ("process_generating", "process_completed"):
                    continue
                if not message["success"]:
                    raise PageError(message["output"].get("error") or "The page answered with an error.")
                values = message["output"].get("data", [])
                is_change = message["msg"] == "process_generating" and data
                data = [apply_diff(*pair) for pair in zip(data, values, strict=True)] if is_change else values
                if data:
                    yield data[0].get("props", {})


def request_values(request: Request) -> list[Any]:
    """Return the values of the page's components, in the order of the request's fields."""
    return [value if value != "" else None for value in astuple(request)]


def _read_map(message: dict[str, Any]) -> Answer:
    packed = message["labels"]
    values = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), f"<u{packed['bits'] // 8}")
    labels = values.reshape(packed["height"], packed["width"]).astype(np.int32) - 1
    entries = sorted(message["classes"], key=lambda entry: entry["index"])
    return tuple(entry["name"] for entry in entries), labels
