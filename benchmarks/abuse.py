"""What strangers can cost: each kind of abuse against a page while one honest visitor edits.

The page runs in a process of its own on this machine, and nothing else is addressed. Each kind of abuse
goes on for the same bounded time, from two processes with loopback addresses of their own. They have the
lowest priority, as strangers' computers are not the server's. The honest visitor's edits are compared with
those on an idle page.

    python benchmarks/abuse.py --seconds 60
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import describe_machine, print_table
from benchmarks.load import Memory, serve, watch_memory
from benchmarks.page_client import PageClient, request_values
from ovseg_demo.classification.text_encoder import FEW_NAMES
from ovseg_demo.ui.examples import STICKERS, Example, load_examples
from ovseg_demo.ui.request import Request

LOGIN = ("ann", "correct horse")

EDIT_PERIOD = 0.25  # seconds between two edits of the honest visitor
MOST_REQUESTS = 20_000  # of one kind of abuse
STRANGERS = 2
LOWEST_PRIORITY = 19

Answers = Counter
"""How many requests had each status; −1 where there was no answer."""


@dataclass
class Stranger:
    """Who abuses the page, from a loopback address of its own (Linux has millions of them)."""

    url: str
    end: float
    number: int
    answers: Answers = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.address = f"127.0.0.{2 + self.number}"
        transport = httpx.HTTPTransport(local_address=self.address)
        self.http = httpx.Client(base_url=f"{self.url.rstrip('/')}/", timeout=60, transport=transport)
        name, password = LOGIN
        while self.http.post("login", data={"username": name, "password": password}).status_code != 200:
            time.sleep(1)  # wrong logins came from this address before
        events = self.http.get("config").json()["dependencies"]
        self.events = {event["api_name"]: event for event in events}

    def goes_on(self) -> bool:
        """Return whether neither the time nor the number of requests is reached."""
        return time.monotonic() < self.end and self.answers.total() < MOST_REQUESTS // STRANGERS

    def post(self, route: str, **options: Any) -> httpx.Response | None:
        """Send a request and count its answer."""
        try:
            answer = self.http.post(route, **options)
        except httpx.HTTPError:
            self.answers[-1] += 1
            return None
        self.answers[answer.status_code] += 1
        return answer

    def visit(self) -> PageClient:
        """Return a client of this address whose image is analyzed."""
        transport = httpx.HTTPTransport(local_address=self.address)
        client = PageClient(self.url, LOGIN, transport)
        example = _example()
        client.analyze(example.path, Request(prompt=example.prompt))
        return client

    def upload(self, content: bytes) -> dict[str, Any] | None:
        """Upload a file; return what stands for it in calls, if it was taken."""
        answer = self.post("gradio_api/upload", files={"files": (f"{uuid.uuid4().hex}.png", content)})
        if answer is None or answer.status_code != 200:
            return None
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


def send_bombs(stranger: Stranger) -> None:
    """Send small files of 49 megapixels to the endpoint and to the page's analysis."""
    bomb = _encoded(Image.fromarray(np.zeros((7000, 7000), np.uint16)))
    while stranger.goes_on():
        file = stranger.upload(bomb)
        if file is None:
            time.sleep(0.2)
            continue
        stranger.post("gradio_api/call/segment", json={"data": [file, "red", None, 0.8]})
        join = {
            "data": [None, file, *request_values(Request(prompt="red"))],
            "fn_index": stranger.events["analyze"]["id"],
            "session_hash": uuid.uuid4().hex,
        }
        stranger.post("gradio_api/queue/join", json=join)


def flood_calls(stranger: Stranger) -> None:
    """Call the endpoint over and over, and fetch none of the results."""
    file = stranger.upload(_encoded(Image.fromarray(np.zeros((16, 16, 3), np.uint8))))
    while file is not None and stranger.goes_on():
        stranger.post("gradio_api/call/segment", json={"data": [file, "red", None, 0.8]})


def new_names() -> str:
    """Return as many names as an edit encodes at once, which nobody has used before."""
    return ", ".join(f"thing {uuid.uuid4().hex[:6]}" for _ in range(FEW_NAMES - 1))


def flood_edits(stranger: Stranger) -> None:
    """Edit an analyzed image over and over, each time with new names, and fetch none of the results."""
    client, event = stranger.visit(), stranger.events["edit"]
    while stranger.goes_on():
        join = {
            "data": [None, *request_values(Request(prompt=new_names()))],
            "fn_index": event["id"],
            "session_hash": client.visitor,
        }
        stranger.post("gradio_api/queue/join", json=join)


def edit_without_pause(stranger: Stranger) -> None:
    """Edit an analyzed image, each time with new names, one edit right after the other."""
    client = stranger.visit()
    while stranger.goes_on():
        client.edit(Request(prompt=new_names()))
        stranger.answers[200] += 1


def upload_slowly(stranger: Stranger) -> None:
    """Open up to 100 uploads that send a byte a second."""
    connections: list[socket.socket] = []
    address = urlparse(stranger.url)
    cookies = "; ".join(f"{name}={value}" for name, value in stranger.http.cookies.items())
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nCookie: {cookies}\r\n"
        "Content-Length: 20000000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n\x89PNG\r\n'
    ).encode("latin-1")
    while stranger.goes_on():
        if len(connections) < 100:
            where = address.hostname, address.port
            connection = socket.create_connection(where, timeout=5, source_address=(stranger.address, 0))
            with suppress(OSError):
                connection.sendall(head)
            connections.append(connection)
            stranger.answers[0] += 1
        else:
            time.sleep(1)
        for connection in connections:
            with suppress(OSError):
                connection.send(b"x")
    for connection in connections:
        connection.close()


def upload_many(stranger: Stranger) -> None:
    """Send requests of 30 files of 19 MB each."""
    content = b"\x89PNG\r\n\x1a\n" + os.urandom(2**16) * (19 * 16)
    files = [("files", (f"{number}.png", content)) for number in range(30)]
    request = stranger.http.build_request("POST", "gradio_api/upload", files=files)
    body = request.read()  # once, so that the strangers' own work does not count
    chunks = [body[start : start + 2**16] for start in range(0, len(body), 2**16)]
    headers = {name: request.headers[name] for name in ("Content-Type", "Content-Length")}
    while stranger.goes_on():
        stranger.post("gradio_api/upload", content=iter(chunks), headers=headers)


def upload_much(stranger: Stranger) -> None:
    """Send requests of one new file of 15 MB each."""
    while stranger.goes_on():
        if stranger.upload(b"\x89PNG\r\n\x1a\n" + os.urandom(2**16) + bytes(15 * 2**20)) is None:
            time.sleep(0.05)


def guess_passwords(stranger: Stranger) -> None:
    """Log in with wrong passwords."""
    while stranger.goes_on():
        stranger.post("login", data={"username": LOGIN[0], "password": uuid.uuid4().hex})


KINDS: dict[str, Callable[[Stranger], None]] = {
    "unfetched calls": flood_calls,
    "unfetched edits": flood_edits,
    "edits without a pause": edit_without_pause,
    "slow uploads": upload_slowly,
    "uploads of 30 files": upload_many,
    "uploads of 15 MB": upload_much,
    "wrong logins": guess_passwords,
    "decompression bombs": send_bombs,  # the last, as the page goes on to work on them
}


@dataclass
class Visit:
    """What an honest visitor met: seconds of each edit, and how often something was refused."""

    seconds: list[float] = field(default_factory=list)
    pressed: int = 0
    refused: list[str] = field(default_factory=list)


def edit_honestly(client: PageClient, other: PageClient, names: list[str], end: float) -> Visit:
    """Edit until the time is over; press Cancel, and Clear on another page, now and then."""
    visit, random, number = Visit(), np.random.default_rng(0), 0
    while time.monotonic() < end:
        number += 1
        chosen = ", ".join(random.permutation(names)[:4])
        start = time.monotonic()
        try:
            client.edit(Request(prompt=chosen, granularity=round(random.random(), 2)))
            visit.seconds.append(time.monotonic() - start)
            if number % 5 == 0:
                visit.pressed += 2
                client.press("cancel", [None])
                other.press("clear", [None, None])
        except Exception as error:  # whatever it is, it is counted and printed
            visit.refused.append(repr(error))
        time.sleep(max(0.0, EDIT_PERIOD - (time.monotonic() - start)))
    return visit


@dataclass(frozen=True)
class Outcome:
    """What one kind of abuse cost."""

    name: str
    visit: Visit
    answers: Answers
    memory: Memory
    disk: int


def abuse(name: str, url: str, end: float, number: int) -> Answers:
    """Abuse the page until the time is over; return the statuses of the answers."""
    stranger = Stranger(url, end, number)
    KINDS[name](stranger)
    return stranger.answers


def measure(
    name: str,
    url: str,
    pid: int,
    folder: Path,
    honest: Callable[[float], Visit],
    seconds: float,
    pool: Executor,
) -> Outcome:
    """Return what a kind of abuse costs; an empty name is an idle page."""
    print(name or "idle", flush=True, file=sys.stderr)
    end = time.monotonic() + seconds
    with watch_memory(pid) as memory, watch_disk(folder) as disk:
        first = STRANGERS * [*KINDS].index(name) if name else 0  # an address of its own for each kind
        numbers = range(first, first + STRANGERS) if name else ()
        calls = [pool.submit(abuse, name, url, end, number) for number in numbers]
        visit = honest(end)
        answers = sum((call.result() for call in calls), Counter())
    return Outcome(name, visit, answers, memory, max(disk))


@contextmanager
def watch_disk(folder: Path) -> Iterator[list[int]]:
    """Note the bytes of all files in a folder twice a second."""
    sizes, stopped = [0], threading.Event()

    def watch() -> None:
        while not stopped.wait(0.5):
            total = 0
            for path in folder.rglob("*"):
                with suppress(OSError):
                    total += path.stat().st_size if path.is_file() else 0
            sizes.append(total)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        stopped.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each kind of abuse (at most 300)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="one kind; may be repeated")
    parser.add_argument("--model", default="sticker-world")
    options = parser.parse_args()
    seconds = min(300.0, options.seconds)
    example = _example()
    names = [name.strip() for name in example.prompt.split(",")]
    print(f"{describe_machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "OVSEG_AUTH": ":".join(LOGIN)}
        pool = ProcessPoolExecutor(
            STRANGERS, multiprocessing.get_context("spawn"), os.nice, (LOWEST_PRIORITY,)
        )
        with serve(options.model) as (url, process, _), pool:
            wait([pool.submit(time.sleep, 1) for _ in range(STRANGERS)])  # they start
            client = PageClient(url, LOGIN)
            client.analyze(example.path, Request(prompt=example.prompt))
            honest = partial(edit_honestly, client, PageClient(url, LOGIN), names)
            outcomes = [
                measure(name, url, process.pid, Path(folder), honest, seconds, pool)
                for name in ["", *(options.kind or KINDS)]
            ]
    report(outcomes, seconds)


def report(outcomes: list[Outcome], seconds: float) -> None:
    """Print a row for each kind of abuse; the first outcome is the idle page's."""
    idle = outcomes[0]
    base = _median(idle.visit.seconds)
    resting = max(idle.memory.samples)
    rows = []
    for outcome in outcomes:
        times = outcome.visit.seconds
        rows.append(
            (
                outcome.name or "idle",
                " ".join(f"{status}: {count}" for status, count in sorted(outcome.answers.items())) or "–",
                len(times),
                f"{_median(times):.2f} s",
                f"{np.percentile(times, 95) if times else np.nan:.2f} s",
                f"{_median(times) / base:.1f}",
                f"{(max(outcome.memory.samples) - resting) / 2**20:+,.0f} MB",
                f"{outcome.disk / 2**20:,.0f} MB",
                f"{len(outcome.visit.refused)} of {len(times) + outcome.visit.pressed}",
            )
        )
    print(f"{seconds:g} s each; load at the end {os.getloadavg()[0]:.1f}.\n")
    print_table(
        ("abuse", "answers", "edits", "median", "95 %", "of idle", "memory", "disk", "refused"),
        rows,
    )
    for outcome in outcomes:
        for error in dict.fromkeys(outcome.visit.refused):
            print(f"\n{outcome.name or 'idle'}: {error}")


def _example() -> Example:
    return next(example for example in load_examples() if example.kind == STICKERS)


def _median(times: list[float]) -> float:
    return float(np.median(times)) if times else float("nan")


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
