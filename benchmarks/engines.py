"""Time, arithmetic and memory of a first analysis at published sizes, with random weights, 1024×768 pixels.

Stage 1 proposes masks as each model of the catalogue does on a CPU: SAM ViT-B at 1,024 points, MobileSAM at
256. Random weights make noisy masks, which cost more than a trained network's. Stage 2 embeds the same 100
given masks for all. All run in turns in the precision that ``--precision auto`` takes; each pipeline's memory
is the peak of a process of its own, less that of a process that imports the same and computes nothing.

    python benchmarks/engines.py                     # everything; several minutes
    python benchmarks/engines.py --quick             # 64 points, 8 masks
    python benchmarks/engines.py --table stage2      # pooled against crops of the same tower
    python benchmarks/engines.py --table pipelines   # whole analyses
    python benchmarks/engines.py --table bundled     # the bundled models, 960×720, with their weights
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.cases import first, random_clip, random_image, random_proposals
from benchmarks.sam import VIT_B, Case, random_sam
from benchmarks.sam_encoders import ENCODERS
from ovseg_demo.classification.building import build_classifier
from ovseg_demo.classification.clip.network import MASK_EMBEDDING
from ovseg_demo.classification.clip.source import ClipSource
from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.proposals.sam.generator import SamConfig
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.ui.examples import EXAMPLES

SIZE = (768, 1024)
MOBILE_SAM = SamConfig(encoder=ENCODERS["MobileSAM"])
CONVNEXT = "convnext_base_w_320"


def vit(name: str, regions: str, runtime: Runtime) -> RegionClassifier:
    """Return a CLIP with one of open_clip's ViTs in OpenAI's format; OVSeg's crops have mask prompts."""
    tensors = random_clip(name)
    if regions != "crops":
        del tensors[MASK_EMBEDDING]
    return build_classifier(ClipSource(tensors), runtime, regions)


def convnext(regions: str, runtime: Runtime) -> RegionClassifier:
    """Return a CLIP with a ConvNeXt-B in open_clip's format."""
    config = open_clip.get_model_config(CONVNEXT)
    torch.manual_seed(0)
    tensors = CLIP(**open_clip.get_model_config(CONVNEXT)).state_dict()
    return build_classifier(ClipSource(tensors, config), runtime, regions)


STAGE_2: Mapping[str, Callable[[Runtime], RegionClassifier]] = {
    "ViT-B/16, crops": partial(vit, "ViT-B-16", "crops"),
    "ViT-B/16, TextRegion": partial(vit, "ViT-B-16", "text-region"),
    "ViT-L/14, crops": partial(vit, "ViT-L-14", "crops"),
    "ViT-L/14, TextRegion": partial(vit, "ViT-L-14", "text-region"),
    "ConvNeXt-B, crops": partial(convnext, "crops"),
    "ConvNeXt-B, FC-CLIP": partial(convnext, "fc-clip"),
    "ConvNeXt-B, soft pooling": partial(convnext, "soft-pooling"),
}
PIPELINES: Mapping[str, tuple[SamConfig, Callable[[Runtime], RegionClassifier]]] = {
    "OVSeg R-101c's CLIP + SAM ViT-B": (VIT_B, STAGE_2["ViT-B/16, crops"]),
    "fast-photo": (MOBILE_SAM, STAGE_2["ConvNeXt-B, FC-CLIP"]),
    "TextRegion ViT-B/16 + MobileSAM": (MOBILE_SAM, STAGE_2["ViT-B/16, TextRegion"]),
    "TextRegion ViT-L/14@336 + MobileSAM": (MOBILE_SAM, partial(vit, "ViT-L-14-336", "text-region")),
}
NOTHING = "nothing"

BUNDLED = ("sticker-world", "photo-mini")
BUNDLED_ON = {"a photograph": "pagoda.jpg", "a scene of Sticker World": "desert.jpg"}


class Pipeline:
    """Both stages of one row, with their networks in memory.

    Args:
        name: a key of :data:`PIPELINES`.
        options: of the command line.
    """

    def __init__(self, name: str, options: argparse.Namespace):
        sam, classifier = PIPELINES[name]
        self._image = random_image(*SIZE)
        case = Case(name, random_sam(sam), self._image, device=options.device)
        points = options.points if sam is VIT_B else options.points // 2
        self._propose = case.generator("float32", points)
        self._classifier = classifier(Runtime.resolve(options.device))
        self._masks = random_proposals(options.masks, SIZE)

    def stage1(self) -> Proposals:
        """Return the masks that the generator proposes."""
        return self._propose(self._image)

    def stage2(self) -> None:
        """Embed the given masks."""
        self._classifier.embed_regions(self._masks)

    def __call__(self) -> None:
        """Run both stages."""
        self.stage1()
        self.stage2()


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--table", choices=TABLES, help="one table; by default all")
    parser.add_argument("--points", type=int, default=32, help="points along a side of the grid")
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--crops", type=int, default=20, help="of the masks, that are timed as crops")
    parser.add_argument(
        "--only", choices=(NOTHING, *PIPELINES), help="run one pipeline, print its peak memory"
    )
    options = parser.parse_args()
    if options.quick:
        options.points, options.masks, options.crops = 8, 8, 2
    keep_freed_memory()
    if options.only:
        torch.set_num_threads(options.threads)
        if options.only != NOTHING:
            Pipeline(options.only, options)()
        harness.print_peak_memory()
        return
    harness.start("First analyses", options)
    for name, compare in TABLES.items():
        if options.table in (None, name):
            compare(options)


def compare_stage2(options: argparse.Namespace) -> None:
    """Print the time of each way to read the masks, and crops ÷ pooled for the same tower.

    Crops cost the same each, so only some are timed.
    """
    runtime, masks = Runtime.resolve(options.device), random_proposals(options.masks, SIZE)
    rows, crops = [], {}
    for name, make in STAGE_2.items():  # one network in memory at a time
        classifier, tower = make(runtime), name.split(",")[0]
        some = first(masks, options.crops) if name.endswith("crops") else masks
        times = len(masks) / len(some)
        run = partial(classifier.embed_regions, some)
        timing = harness.alternate({name: run}, options.repeats)[name]
        timing = harness.Timing(timing.wall * times, timing.processor * times)
        few = first(some, 2) if name.endswith("crops") else masks
        operations = harness.count_operations(partial(classifier.embed_regions, few)) * len(masks) // len(few)
        crops.setdefault(tower, timing)
        share = operations / harness.matrix_rate(runtime.dtype, options.device) / timing.wall
        rows.append(
            [
                name,
                f"{timing.wall:.2f} ({timing.processor:.2f})",
                crops[tower].over(timing),
                f"{operations / 1e12:.2f}",
                f"{share:.0%}",
            ]
        )
    bar = f"{options.masks} crops ÷ it; bar 15"
    harness.print_table(["stage 2", "s (processor s)", bar, "TFLOP", "of the matrix rate"], rows)


def compare_pipelines(options: argparse.Namespace) -> None:
    """Print time and memory of whole analyses, stage by stage in turns."""
    pipelines = {name: Pipeline(name, options) for name in PIPELINES}
    stages = {
        (name, stage): getattr(pipeline, stage)
        for name, pipeline in pipelines.items()
        for stage in ("stage1", "stage2")
    }
    timings = harness.alternate(stages, options.repeats)
    idle = _peak(NOTHING, options)
    memory = {name: _peak(name, options) - idle for name in PIPELINES}
    today = next(iter(PIPELINES))
    totals = {name: _sum(timings[name, "stage1"], timings[name, "stage2"]) for name in PIPELINES}
    rows = [
        [
            name,
            f"{total.wall:.1f} ({total.processor:.1f})",
            totals[today].over(total),
            " + ".join(f"{timings[name, stage].wall:.1f}" for stage in ("stage1", "stage2")),
            f"{memory[name] / 2**30:.2f} GiB, {memory[name] / memory[today]:.2f}",
        ]
        for name, total in totals.items()
    ]
    harness.print_table(
        [
            "analysis",
            "s (processor s)",
            "today's ÷ it; fast-photo's bar 6",
            "stage 1 + stage 2, s",
            f"memory over the libraries' {idle / 2**30:.2f} GiB, ratio; bar 0.7",
        ],
        rows,
    )


def compare_bundled(options: argparse.Namespace) -> None:
    """Print the time of a first analysis by each bundled model, on a photograph and on a scene, in turns."""
    models = {name: load_segmenter(name, device=options.device) for name in BUNDLED}
    shift = count()  # no image twice: it would be in the cache

    def analyze(name: str, image: np.ndarray) -> None:
        models[name].analyze(np.roll(image, next(shift), axis=1))

    examples = {kind: Image.open(EXAMPLES / file).convert("RGB") for kind, file in BUNDLED_ON.items()}
    images = {kind: np.asarray(image.resize((960, 720))) for kind, image in examples.items()}
    runs = {(name, kind): partial(analyze, name, image) for kind, image in images.items() for name in models}
    timings = harness.alternate(runs, options.repeats)
    rows = [
        [name, kind, f"{timing.wall:.2f} ({timing.processor:.2f})", timing.over(timings[BUNDLED[0], kind])]
        for (name, kind), timing in timings.items()
    ]
    harness.print_table(["model", "image", "s (processor s)", f"it ÷ {BUNDLED[0]}; bar 1.5"], rows)


TABLES: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "stage2": compare_stage2,
    "pipelines": compare_pipelines,
    "bundled": compare_bundled,
}


def _sum(one: harness.Timing, two: harness.Timing) -> harness.Timing:
    return harness.Timing(one.wall + two.wall, one.processor + two.processor)


def _peak(name: str, options: argparse.Namespace) -> int:
    arguments = ["--only", name, "--points", str(options.points), "--masks", str(options.masks)]
    return harness.peak_memory("engines.py", [*arguments, "--threads", str(options.threads)])


if __name__ == "__main__":
    main()
