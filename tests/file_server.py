"""A web server on the loopback interface that misbehaves as a test asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Resource:
    """What the server answers under one path.

    ``cuts`` holds, for one request after the other, after how many bytes the connection breaks; later
    requests are served whole. ``statuses`` likewise holds the statuses of the first answers.
    """

    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = '"1"'
    ranges: bool = True
    announce_length: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirect: str = ""
    wrong_offset: bool = False
    heeds_if_range: bool = True
    gate: threading.Event | None = None  # half of the body is sent; the rest once this is set


@dataclass
class FileServer:
    url: str
    resources: dict[str, Resource]
    requests: list[tuple[str, dict[str, str]]]

    def ranges(self) -> list[str]:
        """The Range header of each GET request so far, empty where there was none."""
        return [headers.get("Range", "") for method, headers in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        files: FileServer = self.server.files
        files.requests.append((self.command, dict(self.headers)))
        resource = files.resources.get(self.path.split("?")[0])
        if resource is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")  # the Hugging Face Hub's way to say it
            self.end_headers()
        elif resource.redirect:
            self.send_response(302)
            self.send_header("Location", resource.redirect)
            self.end_headers()
        elif resource.statuses:
            self.send_error(resource.statuses.pop(0))
        else:
            self.send(resource, with_body)

    def send(self, resource: Resource, with_body: bool) -> None:
        start = self.start_of(resource)
        if start and start >= len(resource.content):
            return self.send_error(416)
        start += bool(start and resource.wrong_offset)
        body = resource.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(resource.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{end + 1}")
        if resource.announce_length:
            self.send_header("Content-Length", str(len(body)))
        if resource.etag:
            self.send_header("ETag", resource.etag)
        for name, value in resource.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return None
        if resource.gate:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            resource.gate.wait(30)
            body = body[len(body) // 2 :]
        self.wfile.write(body[: resource.cuts.pop(0)] if resource.cuts else body)
        return None

    def start_of(self, resource: Resource) -> int:
        wanted = self.headers.get("Range", "")
        same_version = self.headers.get("If-Range", resource.etag) == resource.etag
        if not (resource.ranges and wanted and (same_version or not resource.heeds_if_range)):
            return 0
        return int(wanted.removeprefix("bytes=").split("-")[0])


@contextmanager
def serve(resources: dict[str, Resource]) -> Iterator[FileServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.files = FileServer(f"http://127.0.0.1:{server.server_port}", resources, [])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
