"""fast-photo against OVSeg with SAM ViT-B as the project computed them when fast-photo's bar was set.

The bar, 6 times as fast and 0.7 of the memory, was set for the analysis of that day. Since then the mask
decoder, which both share, has become faster, and weights files are mapped into memory. A checkout of that
day's commit computes the first row, this one the others: the networks, weights files, image and masks of
``engines.py --table pipelines``. In every round each row runs in a process of its own, in turns. Its memory
is the peak of its first analysis, less that of the imports; its time is that of the second.

    python benchmarks/former.py                  # 15 minutes; needs the repository's history
    python benchmarks/former.py --folder weights # keep the random weights (1 GB) there
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BAR_SET_AT = "b4fa107"
"""The last commit before the small encoders and the pooled classifiers."""
THEN = "OVSeg R-101c's CLIP + SAM ViT-B, then"
NOW = {"the same today": "OVSeg R-101c's CLIP + SAM ViT-B", "fast-photo": "fast-photo"}
"""The rows of this checkout, and their names in ``engines.py``."""
SAM, CLIP = "SAM ViT-B", "ViT-B-16"
SIZES = argparse.Namespace(points=32, masks=100, device="cpu")
NAMES, IMAGE_SIZE = 20, (768, 1024)

Stages = tuple[Callable[[], object], Callable[[], object], Callable[[], object]]
Build = Callable[[Path], Stages]
"""Builds both stages and the embedding of names of a folder with the weights files."""


class Run(NamedTuple):
    """What a process measured: seconds of both stages, and its peak memory in bytes."""

    stage1: float
    stage2: float
    peak: int

    @property
    def total(self) -> float:
        """Seconds of both stages."""
        return self.stage1 + self.stage2


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds; the median is reported")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the weights files here")
    parser.add_argument("--tree", type=Path, help=argparse.SUPPRESS)  # a row in a process of its own
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tree:
        sys.path.insert(0, str(options.tree))
        _run_row(options)
        return
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = (options.folder or Path(temporary)).absolute()
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    """Print time and memory of the three rows."""
    from benchmarks import harness
    from benchmarks.engines import PIPELINES, Pipeline

    print(f"## When the bar was set, and today\n\n{harness.describe_machine()}\n")
    for name in NOW.values():
        Pipeline(PIPELINES[name], options.folder, SIZES).save()
    with _checkout(BAR_SET_AT) as then:
        rows = {THEN: (then, THEN), **{title: (ROOT, name) for title, name in NOW.items()}}
        runs = {title: [] for title in rows}
        for _ in range(options.repeats):
            for title, (tree, name) in rows.items():
                runs[title].append(_measure(tree, name, options))
    harness.print_table(
        ["analysis", "s", "first row ÷ this row; bar 6", "stage 1 + stage 2, s", "memory, ratio; bar 0.7"],
        [_describe(title, found, runs[THEN]) for title, found in runs.items()],
    )


def _describe(title: str, runs: list[Run], yardstick: list[Run]) -> list[str]:
    """Return a row of the table: medians, and the least and the greatest ratio of a round."""
    pairs = list(zip(yardstick, runs, strict=True))
    times = sorted(before.total / run.total for before, run in pairs)
    memory = sorted(run.peak / before.peak for before, run in pairs)
    return [
        title,
        f"{median(run.total for run in runs):.1f}",
        f"{median(times):.1f} ({times[0]:.1f} to {times[-1]:.1f})",
        f"{median(run.stage1 for run in runs):.1f} + {median(run.stage2 for run in runs):.1f}",
        f"{median(run.peak for run in runs) / 2**30:.2f} GiB, {median(memory):.2f} "
        f"({memory[0]:.2f} to {memory[-1]:.2f})",
    ]


@contextmanager
def _checkout(commit: str) -> Iterator[Path]:
    """Yield a folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True)
        if archive.returncode:
            raise SystemExit(f"Commit {commit} is not here; fetch the whole history of the repository.")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def _measure(tree: Path, row: str, options: argparse.Namespace) -> Run:
    """Run a row with the code of a checkout."""
    arguments = ["--tree", str(tree), "--row", row, "--folder", str(options.folder)]
    command = [sys.executable, __file__, *arguments, "--threads", str(options.threads)]
    finished = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
    idle, peak, seconds = finished.stdout.splitlines()[-3:]
    return Run(*json.loads(seconds), int(peak) - int(idle))


def _run_row(options: argparse.Namespace) -> None:
    """Print the peak memory after the imports and after an analysis, and the seconds of the next as JSON.

    All packages are those of ``--tree``.
    """
    import torch

    from benchmarks import harness
    from ovseg_demo.runtime.allocator import keep_freed_memory

    torch.set_num_threads(options.threads)
    keep_freed_memory()
    build = _import_then() if options.row == THEN else _import_now(options.row)
    harness.print_peak_memory()
    stages = build(options.folder)
    for stage in stages:
        stage()
    harness.print_peak_memory()
    print(json.dumps([harness.time_once(stage).wall for stage in stages[:2]]))


def _import_then() -> Build:
    """Return what builds the stages and the embedding of names as the program of that day does."""
    from benchmarks import sam
    from benchmarks.cases import random_image, random_proposals
    from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
    from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
    from ovseg_demo.runtime.devices import Runtime
    from ovseg_demo.vocabularies.class_lists import load_vocabulary

    def build(folder: Path) -> Stages:
        runtime, file = Runtime.resolve("cpu"), folder / f"{SAM}.pth"
        generator = sam.SamProposalGenerator(
            sam.build_sam(read_checkpoint(file, CheckpointKind.SAM).sam()),
            points_per_side=SIZES.points,
            runtime=runtime.with_float32(),
            **json.loads(file.with_suffix(".json").read_text()),
        )
        tensors = read_checkpoint(folder / f"{CLIP}.pth", CheckpointKind.CLIP).clip()
        classifier = MaskAdaptedClip.from_tensors(tensors, runtime=runtime)
        image, masks = random_image(*IMAGE_SIZE), random_proposals(SIZES.masks, IMAGE_SIZE)
        names = list(load_vocabulary("ade20k-150").class_names[:NAMES])
        return (
            lambda: generator(image),
            lambda: classifier.embed_regions(masks),
            lambda: classifier.embed_names(names, "vild"),
        )

    return build


def _import_now(row: str) -> Build:
    """Return what builds the same of a row of ``engines.py``."""
    from benchmarks.engines import PIPELINES, Pipeline

    def build(folder: Path) -> Stages:
        pipeline = Pipeline(PIPELINES[row], folder, SIZES)
        return pipeline.stage1, pipeline.stage2, pipeline.embed_names

    return build


if __name__ == "__main__":
    main()
