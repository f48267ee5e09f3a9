"""What a browser, or a program without Gradio's client, sends to the page."""

from __future__ import annotations

import json
import socket
import uuid
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from ovseg_demo.ui.request import Request


def values_of(**settings: Any) -> list[Any]:
    """Return the values of the page's components for a request."""
    return [value if value != "" else None for value in asdict(Request(**settings)).values()]


class HttpVisitor:
    """One session over plain HTTP.

    Args:
        url: of the page.
        options: of ``httpx.Client``, such as headers.
    """

    def __init__(self, url: str, **options: Any):
        self.http = httpx.Client(base_url=f"{url}/", timeout=60, **options)
        dependencies = self.http.get("config").raise_for_status().json()["dependencies"]
        self.events = {event["api_name"]: event for event in dependencies}
        self.session = uuid.uuid4().hex

    def upload(self, *images: Path) -> httpx.Response:
        files = [("files", (image.name, image.read_bytes())) for image in images]
        return self.http.post("gradio_api/upload", files=files)

    def uploaded(self, image: Path) -> dict[str, Any]:
        """Upload an image; return what stands for it in calls."""
        (path,) = self.upload(image).raise_for_status().json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def post_call(self, data: Any, name: str = "segment") -> httpx.Response:
        return self.http.post(f"gradio_api/call/{name}", json={"data": data})

    def result(self, event: str, name: str = "segment") -> tuple[str, Any]:
        """Return the last event of a call's stream, and its data."""
        lines = self.http.get(f"gradio_api/call/{name}/{event}").text.strip().split("\n")
        return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))

    def call(self, *data: Any) -> tuple[str, Any]:
        return self.result(self.post_call(list(data)).raise_for_status().json()["event_id"])

    def join(self, name: str, data: list[Any] | None = None, event_data: Any = None) -> httpx.Response:
        """Send an event of the page; its components that are not given are empty."""
        event = self.events[name]
        values = data if data is not None else [None] * len(event["inputs"])
        body = {"data": values, "fn_index": event["id"], "session_hash": self.session}
        return self.http.post("gradio_api/queue/join", json=body | {"event_data": event_data})

    def stream(self) -> AbstractContextManager[httpx.Response]:
        """Return the stream of the session's messages, to be read line by line."""
        return self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": self.session})

    def messages(self) -> list[dict[str, Any]]:
        """Return the session's messages until nothing is left to wait for."""
        text = self.http.get("gradio_api/queue/data", params={"session_hash": self.session}).text
        return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]

    def wait_for(self, text: str) -> None:
        """Read the session's messages until one has this text in it."""
        with self.stream() as stream:
            assert any(text in line for line in stream.iter_lines()), f"no message has {text!r}"

    def do(self, name: str, data: list[Any] | None = None, event_data: Any = None) -> dict[str, Any]:
        """Send an event of the page and return its last message."""
        self.join(name, data, event_data).raise_for_status()
        return [one for one in self.messages() if one["msg"] == "process_completed"][-1]


def begun_upload(url: str) -> socket.socket:
    """Begin an upload of a PNG file that does not go on; return its connection."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        b"\x89PNG\r\n\x1a\n1234"
    )
    return connection
