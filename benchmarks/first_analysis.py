"""Time of first analyses in the browser, and the part of it that the page adds.

The page runs with sticker-world in a process of its own. Two clients request analyses in turns and wait
for the map: a program that sends the page's events, and a headless Chromium in which an example is clicked.
No image is in the server's cache, because the program shifts the examples sideways. A browser without a GPU
draws on the processor cores that the networks need, so the page should draw little during an analysis.

    python benchmarks/first_analysis.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.live_edit import open_page
from benchmarks.load import make_image, serve
from benchmarks.page_client import PageClient
from ovseg_demo.ui.examples import STICKERS, Example, load_examples
from ovseg_demo.ui.request import Request
from tests.browser.test_page import choose


def main() -> None:
    options = harness.make_parser(__doc__).parse_args()
    harness.start("First analyses, sticker-world", options)
    examples = [example for example in load_examples() if example.kind == STICKERS]
    analyses = {"a program": [], "the browser": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        serve("sticker-world") as (url, server, _),
        open_page(url) as page,
    ):
        client = PageClient(url)
        client.analyze(
            make_image(examples[0], 0, 1, Path(folder)), request_of(examples[0])
        )  # loads the model
        for number, example in enumerate(examples[: 2 if options.quick else None]):
            image = make_image(example, number, 2, Path(folder))
            analyses["a program"].append(
                measure(server.pid, partial(client.analyze, image, request_of(example)))
            )
            analyses["the browser"].append(measure(server.pid, partial(choose, page, example.title)))
    harness.print_table(
        ["requested by", "analyses", "median", "longest", "processor time of the server", "of the browser"],
        [_row(who, figures) for who, figures in analyses.items()],
    )


def request_of(example: Example) -> Request:
    return Request(example.prompt, example.generator, example.granularity)


def measure(server: int, analyze: Callable[[], object]) -> tuple[float, float, float]:
    """Return the wall time of an analysis and the processor times of server and browser, in seconds."""
    before, start = processor_times(server), time.perf_counter()
    analyze()
    seconds = time.perf_counter() - start
    after = processor_times(server)
    return seconds, after[0] - before[0], after[1] - before[1]


def processor_times(server: int) -> tuple[float, float]:
    """Return the processor seconds of the server and of all browser processes so far (Linux)."""
    browsers = [int(comm.parent.name) for comm in Path("/proc").glob("[0-9]*/comm") if "chrom" in _read(comm)]
    return _taken(server), sum(map(_taken, browsers))


def _taken(process: int) -> float:
    fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # in user and kernel mode


def _read(file: Path) -> str:
    """Return the content of a file in /proc, or an empty text if the process has ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _row(who: str, analyses: list[tuple[float, float, float]]) -> list[str]:
    seconds, server, browser = zip(*analyses, strict=True)
    figures = statistics.median(seconds), max(seconds), statistics.median(server), statistics.median(browser)
    return [who, str(len(analyses)), *(f"{figure:.1f} s" for figure in figures)]


if __name__ == "__main__":
    main()
