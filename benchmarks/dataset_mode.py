"""Data-set mode: runs that are killed and continued, memory over many images, throughput.

    python benchmarks/dataset_mode.py kill --images 1000
    python benchmarks/dataset_mode.py memory --images 2000
    python benchmarks/dataset_mode.py throughput --images 38 --side 960
    python benchmarks/dataset_mode.py ray --images 300

"kill", "memory" and "ray" take tiny networks with random weights: the journal, files and memory are measured,
not the networks.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from PIL import Image

from benchmarks import harness
from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.datasets.inputs import find_images
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import DEFAULT_FORMATS, Job, LoadedImage, Result
from ovseg_demo.datasets.runner import run_local
from ovseg_demo.datasets.store import ResultStore
from ovseg_demo.progress import DRAWING, EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.segmentation import Segmentation, Timing
from ovseg_demo.segmenter import Caches, Segmenter
from tests.datasets.small_images import contents, journal_lines, save_images
from tests.tiny.checkpoints import save_tiny_ovseg
from tests.tiny.sam import tiny_sam

_NETWORKS = (PROPOSING, EMBEDDING_REGIONS, ENCODING_NAMES)
_NAMES = "tree, house, car, person, dog, grass, sky"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("kill", "memory", "throughput", "ray"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=960, help="longer side of the images (throughput)")
    parser.add_argument("--model", default="photo-mini", help="of the catalogue (throughput)")
    parser.add_argument("--generator", default="maskformer", help="its proposal generator (throughput)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of killing")
    options = parser.parse_args()
    print(f"{harness.describe_machine()}\n")
    with tempfile.TemporaryDirectory() as folder:
        work = {
            "kill": kill,
            "memory": measure_memory,
            "throughput": measure_throughput,
            "ray": measure_workers,
        }
        work[options.what](options, Path(folder))


def kill(options: argparse.Namespace, folder: Path) -> None:
    """Kill a run three times at random, continue it, and compare it with an uninterrupted one."""
    bad = tuple(random.Random(1).sample(range(options.images), 4))
    images = save_images(folder / "images", options.images, bad)
    command = _command(folder, images)
    uninterrupted = _seconds([*command, "--output", str(folder / "whole")])
    moments = sorted(random.Random(options.seed).sample(range(1, options.images - len(bad)), 3))
    for lines in moments:
        _kill_at([*command, "--output", str(folder / "killed")], folder / "killed", lines)
    continued = _seconds([*command, "--output", str(folder / "killed")])
    ids = [json.loads(line)["id"] for line in journal_lines(folder / "killed")]
    errors = (folder / "killed" / "errors.jsonl").read_text().splitlines()
    print(f"{options.images} images, killed after {', '.join(map(str, moments))}")
    print(f"uninterrupted: {uninterrupted:.0f} s; the last part: {continued:.0f} s")
    print(f"the same files: {contents(folder / 'whole') == contents(folder / 'killed')}")
    print(f"done: {len(ids)}, done twice: {len(ids) - len(set(ids))}, errors: {len(errors)}")


def measure_memory(options: argparse.Namespace, folder: Path) -> None:
    """Print the memory of a run after each twentieth of its images."""
    images = save_images(folder / "images", options.images)
    process = subprocess.Popen(
        [*_command(folder, images), "--output", str(folder / "out")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=harness.ROOT,
    )
    part = max(1, options.images // 20)
    rows, due = [], part
    while process.poll() is None:
        time.sleep(0.05)
        done = sum(1 for _ in journal_lines(folder / "out"))
        if done >= due:
            rows.append([done, f"{_resident(process.pid) / 2**20:.0f}"])
            due = done - done % part + part
    harness.print_table(["images", "resident memory, MB"], rows)


def measure_throughput(options: argparse.Namespace, folder: Path) -> None:
    """Compare the time of whole runs on the example photographs with that of the networks in them."""
    from ovseg_demo import load_segmenter

    keep_freed_memory()
    segmenter = load_segmenter(options.model, caches=Caches(analyses=ByteCache(0)))
    (folder / "images").mkdir()
    examples = cycle(sorted((harness.ROOT / "examples").glob("*.jpg")))
    for number, example in zip(range(options.images), examples):  # noqa: B905 (the examples come again)
        image = Image.open(example)
        image.thumbnail((options.side, options.side))
        image.save(folder / "images" / f"{number:04d}.jpg", quality=92)
    items, _ = find_images([str(folder / "images")])
    segmenter.segment(items[0].content, _NAMES, generator=options.generator)  # loads the networks
    rows = []
    for formats in (("label-map",), DEFAULT_FORMATS):
        job = _TimedJob(segmenter, options.generator, formats)
        with ResultStore(folder / "-".join(formats)) as store:
            start = time.perf_counter()
            run_local(items, job, store, on_outcome=lambda outcome: None)
            store.merge()
            wall = time.perf_counter() - start
        networks = sum(timing.seconds for timing in job.timings if timing.stage in _NETWORKS)
        drawing = sum(timing.seconds for timing in job.timings if timing.stage == DRAWING)
        rows.append(
            [
                " ".join(formats),
                f"{len(items) / wall:.2f}",
                f"{wall:.1f}",
                f"{networks:.1f}",
                f"{drawing:.1f}",
                f"{100 * (wall / networks - 1):.1f}%",
                f"{job.reading / len(items):.3f}",
                f"{job.writing / len(items):.3f}",
                f"{job.nbytes / len(items) / 1e3:.0f}",
            ]
        )
    print(f"{len(items)} photographs, longer side {options.side}, {options.model}, {options.generator}\n")
    columns = ["formats", "images a second", "run, s", "networks, s", "maps, s", "over"]
    per_image = ["reading an image, s of a core", "making its files, s of a core", "KB an image"]
    harness.print_table([*columns, *per_image], rows)


def measure_workers(options: argparse.Namespace, folder: Path) -> None:
    """Compare the local engine with one and two workers of Ray, each on one core."""
    images = save_images(folder / "images", options.images)
    engines = {
        "local": [],
        "1 worker": ["--engine", "ray"],
        "2 workers": ["--engine", "ray", "--workers", "2"],
    }
    rows, command = [], _command(folder, images)
    for name, engine in engines.items():
        output = folder / name.replace(" ", "-")
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--output", str(output), *engine],
            cwd=harness.ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and next(journal_lines(output), None) is None:
            time.sleep(0.05)
        first = time.perf_counter()
        process.wait()
        end = time.perf_counter()
        rows.append(
            [name, f"{first - start:.0f}", f"{end - first:.0f}", f"{options.images / (end - first):.1f}"]
        )
        assert contents(output) == contents(folder / "local")
    harness.print_table(["engine", "to the first image, s", "the rest, s", "images a second"], rows)


class _TimedJob(Job):
    """A job that notes what its images cost.

    Attributes:
        timings: of the stages of all images.
        reading, writing: seconds of a core in which files were read and decoded, and results encoded.
        nbytes: of all files and lines of the journal.
    """

    def __init__(self, segmenter: Segmenter, generator: str, formats: Sequence[str]):
        super().__init__(segmenter, _NAMES, generator=generator, formats=formats, rule=GranularityRule())
        self.timings: list[Timing] = []
        self.reading = self.writing = 0.0
        self.nbytes = 0

    def load(self, item: Item) -> LoadedImage:
        start = time.thread_time()
        image = super().load(item)
        self.reading += time.thread_time() - start
        return image

    def segment(self, *arguments: Any) -> Segmentation:
        segmentation = super().segment(*arguments)
        self.timings += segmentation.timings
        return segmentation

    def describe(self, *arguments: Any) -> Result:
        start = time.thread_time()
        result = super().describe(*arguments)
        self.writing += time.thread_time() - start
        self.nbytes += sum(map(len, result.files.values())) + len(json.dumps(result.line))
        return result


def _command(folder: Path, images: Path) -> list[str]:
    sam, ovseg = _save_tiny_sam(folder / "sam.pth"), save_tiny_ovseg(folder / "ovseg.pth")
    return [
        *(sys.executable, "-m", "ovseg_demo", "segment", str(images)),
        *("--sam", str(sam), "--points", "4", "--ovseg", str(ovseg)),
        *("--generator", "sam", "--classes", "cat, grass, sky", "--format", "label-map"),
    ]


def _save_tiny_sam(path: Path) -> Path:
    """Save a network of random weights whose masks pass the filters of published ones."""
    sam = tiny_sam()
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(0.95)
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            for parameter in mlp.layers[-1].parameters():
                parameter.mul_(30)
    torch.save(sam.state_dict(), path)
    return path


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, cwd=harness.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return time.perf_counter() - start


def _kill_at(command: list[str], output: Path, lines: int) -> None:
    process = subprocess.Popen(
        command, cwd=harness.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and sum(1 for _ in journal_lines(output)) < lines:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _resident(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


if __name__ == "__main__":
    main()
