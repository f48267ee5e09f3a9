"""Growth of the time with 4 × the pixels, 4 × the masks, 10 × the classes and 4 × the points.

    python benchmarks/growth.py

The networks are small and have random weights, because the growth is measured and not the time itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.cases import random_clip, random_image, random_proposals
from benchmarks.labeling import draw
from benchmarks.sam import make_case
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabularies.class_lists import load_vocabulary

_MORE_ROUNDS = 30  # for runs of milliseconds, because waking a thread can take one millisecond
SIZES = {"480×360": (360, 480), "960×720": (720, 960)}


def main() -> None:
    options = harness.make_parser(__doc__).parse_args()
    keep_freed_memory()  # as the page's server does
    harness.start("Growth", options)
    rows = []
    for work, growth, factor, pair in cases(options.device):
        takes_milliseconds = harness.time_once(pair["large"]).wall < 0.1
        rounds = options.repeats * (_MORE_ROUNDS if takes_milliseconds else 1)
        small, large = harness.alternate(pair, rounds).values()
        rows.append(
            [
                work,
                f"{growth} (× {factor})",
                f"{harness.milliseconds(small)} → {harness.milliseconds(large)}",
                f"× {large.over(small)}",
            ]
        )
    harness.print_table(["work", "what grows", "by the clock (processor)", "by"], rows)


def cases(device: str) -> list[tuple[str, str, int, dict[str, Callable[[], object]]]]:
    """Return for each case the work, what grows, by which factor, and the runs at both sizes."""
    few, many = random_proposals(25, SIZES["960×720"]), random_proposals(100, SIZES["960×720"])
    low, high = (random_proposals(100, size) for size in SIZES.values())
    clip = MaskAdaptedClip.from_tensors(random_clip("ViT-B-32", 2, 2), runtime=Runtime.resolve(device))
    sam = make_case("small", None, device=device)
    larger = random_image(2 * 480, 2 * 640)
    coarse, fine = sam.generator("float32", 8), sam.generator("float32", 16)
    names = load_vocabulary("ade20k-150").class_names

    def pair(small: Callable[[], object], large: Callable[[], object]) -> dict[str, Callable[[], object]]:
        return {"small": small, "large": large}

    return [
        ("Segment Anything", "64 → 256 points", 4, pair(lambda: coarse(sam.image), lambda: fine(sam.image))),
        (
            "Segment Anything",
            "640×480 → 1280×960",
            4,
            pair(lambda: coarse(sam.image), lambda: coarse(larger)),
        ),
        (
            "embedding regions",
            "25 → 100 masks",
            4,
            pair(lambda: clip.embed_regions(few), lambda: clip.embed_regions(many)),
        ),
        (
            "embedding regions",
            "480×360 → 960×720",
            4,
            pair(lambda: clip.embed_regions(low), lambda: clip.embed_regions(high)),
        ),
        (
            "encoding names",
            "15 → 150 classes",
            10,
            pair(lambda: clip.embed_names(names[:15], "vild"), lambda: clip.embed_names(names, "vild")),
        ),
        (
            "finding cells",
            "25 → 100 masks",
            4,
            pair(lambda: MaskPartition.of(few), lambda: MaskPartition.of(many)),
        ),
        (
            "finding cells",
            "480×360 → 960×720",
            4,
            pair(lambda: MaskPartition.of(low), lambda: MaskPartition.of(high)),
        ),
        ("drawing", "480×360 → 960×720", 4, pair(draw(low, 20), draw(high, 20))),
        ("drawing", "25 → 100 masks", 4, pair(draw(few, 20), draw(many, 20))),
        ("drawing", "20 → 200 classes", 10, pair(draw(many, 20), draw(many, 200))),
    ]


if __name__ == "__main__":
    main()
