"""Load of many visitors at once: correctness of the results, time and memory.

The script starts ``python app.py`` in a process of its own. Visitors send it the events that browsers send,
over the loopback interface. No two visitors have an image or a set of class names in common. A visitor
uploads a new image (a *first analysis*), then changes names and granularity for it (*live edits*), then
uploads the next image. At the end, every map is compared with the map that a segmenter in this process
computes.

    python benchmarks/load.py --visitors 16 --seconds 120
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import ROOT, describe_machine, print_table
from benchmarks.page_client import PageClient
from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.ui.examples import STICKERS, Example, load_examples
from ovseg_demo.ui.request import Request

EDITS = 4
"""Live edits after each first analysis."""

KINDS = FIRST_ANALYSIS, LIVE_EDIT = "first analysis", "live edit"


@dataclass(frozen=True)
class Visit:
    """One call of a visitor, and the answer.

    ``names`` and ``label_map`` are those of the answer; ``error`` is empty if there was an answer.
    """

    kind: str
    image: Path
    request: Request
    seconds: float
    names: tuple[str, ...] = ()
    label_map: np.ndarray | None = None
    error: str = ""


@dataclass
class Memory:
    """Resident memory of a process over time, in bytes."""

    samples: list[int] = field(default_factory=list)

    def peaks(self) -> list[int]:
        """Return the highest value in each tenth of the time."""
        return [int(part.max()) for part in np.array_split(self.samples, 10) if part.size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--model", default="sticker-world")
    options = parser.parse_args()
    examples = [example for example in load_examples() if example.kind == STICKERS]
    with tempfile.TemporaryDirectory() as folder, serve(options.model) as (url, process, start):
        with watch_memory(process.pid) as memory:
            end = time.monotonic() + options.seconds
            with ThreadPoolExecutor(options.visitors) as pool:
                calls = [
                    pool.submit(visit, url, number, examples[number % len(examples)], Path(folder), end)
                    for number in range(options.visitors)
                ]
                visits = [one for call in calls for one in call.result()]
        wrong = count_wrong(visits, options.model)
    report(options, visits, wrong, memory, start)


@contextmanager
def serve(model: str, *options: str) -> Iterator[tuple[str, subprocess.Popen, float]]:
    """Start the page with further options, and yield its address, its process, and the seconds that took."""
    start = time.monotonic()
    command = [sys.executable, "app.py", "--model", model, *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://\S+", line)
            if address is None:
                raise SystemExit(f"The page did not open: {line}")
            yield address[0], process, time.monotonic() - start
        finally:
            process.terminate()


@contextmanager
def watch_memory(pid: int) -> Iterator[Memory]:
    """Record a process's resident memory twice a second, and yield the record."""
    memory, stopped = Memory(), threading.Event()

    def watch() -> None:
        while not stopped.wait(0.5):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory.samples.append(pages * os.sysconf("SC_PAGE_SIZE"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        stopped.set()
        thread.join()


def visit(url: str, number: int, example: Example, folder: Path, end: float) -> list[Visit]:
    """Return a visitor's calls until the time is over; the first call is always made."""
    client = PageClient(url)
    random = np.random.default_rng(number)
    names = [name.strip() for name in example.prompt.split(",")]
    visits: list[Visit] = []
    for round_number in count():
        image = make_image(example, number, round_number, folder)
        for edit in range(1 + EDITS):
            if visits and time.monotonic() > end:
                return visits
            chosen = [*random.permutation(names)[: 2 + edit], f"visitor {number}"]
            kind = LIVE_EDIT if edit else FIRST_ANALYSIS
            request = Request(prompt=", ".join(chosen), granularity=round(random.random(), 2))
            visits.append(call(client, kind, image, request))
    return visits


def make_image(example: Example, visitor: int, round_number: int, folder: Path) -> Path:
    """Write an example shifted sideways, which no other visitor has, and return its path."""
    path = folder / f"{visitor}-{round_number}.png"
    with Image.open(example.path) as image:
        pixels = np.asarray(image.convert("RGB"))
    Image.fromarray(np.roll(pixels, 1 + 16 * round_number + visitor, axis=1)).save(path)
    return path


def call(client: PageClient, kind: str, image: Path, request: Request) -> Visit:
    start = time.monotonic()
    try:
        if kind == FIRST_ANALYSIS:
            names, label_map = client.analyze(image, request)
        else:
            names, label_map = client.edit(request)
    except Exception as error:  # every error is counted and printed
        return Visit(kind, image, request, time.monotonic() - start, error=repr(error))
    return Visit(kind, image, request, time.monotonic() - start, names, label_map)


def count_wrong(visits: Sequence[Visit], model: str) -> int:
    """Return how many answers differ from the segmenter's results for the same image and names."""
    segmenter = load_segmenter(model)
    wrong = 0
    for one in visits:
        if one.error:
            continue
        vocabulary = one.request.vocabulary(max_names=300)
        generator = one.request.generator or None
        expected = segmenter.segment(one.image, vocabulary, generator=generator, rule=one.request.rule)
        is_right = one.names == expected.class_names and np.array_equal(one.label_map, expected.label_map)
        wrong += not is_right
    return wrong


def report(
    options: argparse.Namespace, visits: Sequence[Visit], wrong: int, memory: Memory, start: float
) -> None:
    peaks = ", ".join(f"{peak / 2**20:,.0f}" for peak in memory.peaks())
    errors = [one.error for one in visits if one.error]
    print(f"{describe_machine()}\n")
    print(
        f"{options.visitors} visitors for {options.seconds:g} s on {options.model}: {len(visits)} calls, "
        f"{len(errors)} errors, {wrong} wrong or mixed-up results. The page was open after {start:.1f} s. "
        f"Peak memory in each tenth of the time: {peaks} MB.\n"
    )
    print_table(
        ("call", "number", "median", "95th percentile", "longest"),
        [_row(kind, [one.seconds for one in visits if one.kind == kind and not one.error]) for kind in KINDS],
    )
    for error in dict.fromkeys(errors):
        print(f"\n{error}")


def _row(kind: str, seconds: Sequence[float]) -> tuple[str, ...]:
    if not seconds:
        return kind, "0", "–", "–", "–"
    figures = (np.median(seconds), np.percentile(seconds, 95), max(seconds))
    return kind, str(len(seconds)), *(f"{figure:.2f} s" for figure in figures)


if __name__ == "__main__":
    main()
