"""Time of class names: the published demo's text embeddings against ours, on equal weights of ViT-L/14 size.

    python benchmarks/class_names.py               # 150 classes × 14 templates: minutes a round
    python benchmarks/class_names.py --classes 20  # the same ratio in less time

The script prints three tables: new names; ADE20K's 847 classes, not cached, cached on disk and cached in
memory; cached names on an analyzed image.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, published
from benchmarks.cases import GivenProposals, random_clip, random_proposals, shallow_segmenter
from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import build_clip
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.segmenter import Segmenter
from ovseg_demo.vocabularies.class_lists import load_vocabulary, shipped_lists

BAR, KNOWN_NAMES_BAR = 5, 0.030


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--vocabulary", default="ade20k-847", help="class list of the second table")
    options = parser.parse_args()
    if options.quick:
        options.classes, options.vocabulary = 2, "pascal-voc-20"
    keep_freed_memory()  # as the page's server does
    harness.start("New class names, ViT-L/14 text tower, 14 templates", options)
    tensors = random_clip("ViT-L-14")
    compare_new_names(tensors, options)
    measure_long_list(tensors, options)
    measure_known_names(options)


def compare_new_names(tensors: dict[str, torch.Tensor], options: Namespace) -> None:
    names = load_vocabulary("ade20k-150").class_names[: options.classes]
    plain = build_clip(tensors, device=options.device).requires_grad_(False)
    ways = [
        harness.Way("published", torch.float32, lambda count: published.embed_names(plain, names[:count]))
    ]
    for precision, dtype in harness.precisions(options.device).items():
        clip = MaskAdaptedClip.from_tensors(tensors, runtime=Runtime(torch.device(options.device), dtype))
        ways.append(
            harness.Way(
                f"ours, {precision}",
                dtype,
                lambda count, clip=clip: clip.embed_names(names[:count], "vild"),
            )
        )
    print(f"{len(names)} new classes\n")
    harness.compare(ways, "class", len(names), BAR, options)


def measure_long_list(tensors: dict[str, torch.Tensor], options: Namespace) -> None:
    vocabulary = load_vocabulary(options.vocabulary)
    proposals = random_proposals(1, (480, 640))
    clip = MaskAdaptedClip.from_tensors(tensors, runtime=Runtime.resolve(options.device))

    def segment(analysis: Analysis) -> harness.Timing:
        return harness.time_once(lambda: analysis.segment(vocabulary))

    with tempfile.TemporaryDirectory() as folder:

        def start() -> Analysis:
            segmenter = Segmenter(
                {"sam": LazyModel(lambda: GivenProposals(proposals))},
                LazyModel(lambda: clip),
                text_embedding_cache=TextEmbeddingCache(shipped_lists, Path(folder)),
            )
            analysis = segmenter.analyze(proposals.working_image)
            analysis.segment("one, two")
            return analysis

        first = start()
        cold, known = segment(first), segment(first)
        from_disk = segment(start())
    rows = [
        [way, f"{timing.wall:.3f} ({timing.processor:.3f})"]
        for way, timing in (("not cached", cold), ("cached on disk", from_disk), ("cached in memory", known))
    ]
    print(f"\n{options.vocabulary}: {len(vocabulary.all_names):,} names, and the map\n")
    harness.print_table(["names", "s (processor s)"], rows)


def measure_known_names(options: Namespace) -> None:
    proposals = random_proposals(100, (960, 1280))
    segmenter = shallow_segmenter(proposals, options.device)
    names = load_vocabulary("ade20k-150").class_names
    prompts = {", ".join(names[start : start + 10]) for start in (0, 10)}
    analysis = segmenter.analyze(proposals.working_image)
    runs = {prompt: (lambda prompt=prompt: analysis.segment(prompt)) for prompt in prompts}
    timings = harness.alternate(runs, max(options.repeats, 5))
    slowest = max(timings.values(), key=lambda timing: timing.wall)
    # For each pixel, the cell (4 bytes) is read, and the label and the share (8 bytes) are written.
    limit = 12 * 960 * 1280 / harness.memory_rate()
    print("\nOther cached names on an analyzed image: 100 masks, 10 classes, 1280×960\n")
    harness.print_table(
        ["in the server (processor)", "bar", "limit: memory"],
        [[harness.milliseconds(slowest), f"{1e3 * KNOWN_NAMES_BAR:.0f} ms", f"{1e3 * limit:.1f} ms"]],
    )


if __name__ == "__main__":
    main()
