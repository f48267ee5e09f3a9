"""Time of a new granularity on an analyzed image, and memory of many classes.

python benchmarks/labeling.py
"""

from __future__ import annotations

import sys
from argparse import Namespace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, published
from benchmarks.cases import random_proposals
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import GranularityRule, NamedMasks
from ovseg_demo.classification.score_maps import UNLABELLED
from ovseg_demo.proposals.types import MaskQueries, Proposals
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.vocabulary import ClassName, Vocabulary

BAR, MEMORY_BAR = 30, 300
SIZE = (960, 1280)
MASKFORMER_SIZE = (640, 853)
MASKS = 100
WIDTH = 768


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--only", type=int, help="print only the peak memory with this number of classes")
    options = parser.parse_args()
    if options.only is not None:
        if options.only:
            draw(make_case("sam"), options.only)()
        else:
            make_case("sam")
        harness.print_peak_memory()
        return
    keep_freed_memory()  # as the page's server does
    harness.start("Labeling", options)
    measure_slider(options)
    measure_memory()


def make_case(kind: str) -> Proposals:
    """Return masks as of Segment Anything, at the image's size, or as of MaskFormer, resized bilinearly."""
    if kind == "sam":
        return random_proposals(MASKS, SIZE)
    proposals = random_proposals(MASKS, MASKFORMER_SIZE, SIZE, kind)
    nothing = np.zeros((MASKS, 1, 1), dtype=np.float32)
    queries = MaskQueries(nothing, nothing[:, 0], nothing[0, 0], np.arange(MASKS), MASKFORMER_SIZE)
    return Proposals(**{**vars(proposals), "queries": queries})


def random_embeddings(count: int) -> np.ndarray:
    """Return random rows of unit length: float32 (count, D)."""
    rows = np.random.default_rng(count).normal(size=(count, WIDTH)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw(proposals: Proposals, classes: int):
    """Return a function that computes the label map, at another granularity in each call."""
    names = random_embeddings(classes)
    logits = 100 * random_embeddings(len(proposals)) @ names.T
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()
    vocabulary = Vocabulary(tuple(ClassName(f"class {index}") for index in range(classes)))
    masks = NamedMasks(proposals, MaskPartition.of(proposals), probabilities, names, vocabulary)
    rules = cycle(map(GranularityRule, (0.2, 0.5, 0.8, 0.95)))

    def run() -> np.ndarray:
        return next(rules).label(masks).label_map.labels

    return run


def measure_slider(options: Namespace) -> None:
    regions, names = random_embeddings(MASKS), random_embeddings(20)
    sam = make_case("sam")
    runs = {
        "published: score map of all classes": lambda: published.label(sam, regions, names),
        "ours, Segment Anything's masks": draw(sam, 20),
        "ours, MaskFormer's masks, blended": draw(make_case("maskformer"), 20),
    }
    timings = harness.alternate(runs, max(options.repeats, 4))
    yardstick, *_ = timings.values()
    pixels = SIZE[0] * SIZE[1]
    limit = 12 * pixels / harness.memory_rate()  # reads a cell, writes a label and a share
    rows = [
        [name, harness.milliseconds(timing), yardstick.over(timing), f"{1e3 * limit:.1f} ms"]
        for name, timing in timings.items()
    ]
    found = runs["ours, Segment Anything's masks"]()
    print(f"20 classes, {MASKS} masks, 1280×960; {(found != UNLABELLED).mean():.0%} of the pixels labelled\n")
    harness.print_table(
        ["a moved slider", f"ms (processor); bar {BAR}", "published ÷ it", "limit: memory"], rows
    )


def measure_memory() -> None:
    base = harness.peak_memory("labeling.py", ["--only", "0"])
    rows = [
        [f"{classes:,}", f"{(harness.peak_memory('labeling.py', ['--only', str(classes)]) - base) >> 20} MiB"]
        for classes in (20, 1000)
    ]
    print("\nPeak memory of drawing at 1280×960, without the proposals\n")
    harness.print_table(["classes", f"memory (bar {MEMORY_BAR} MB)"], rows)


if __name__ == "__main__":
    main()
