"""Time, arithmetic and memory of a first analysis at published sizes, with random weights, 1024×768 pixels.

Stage 1 proposes masks as each model of the catalogue does on a CPU: SAM ViT-B at 1,024 points, MobileSAM at
256. Random weights make noisy masks, which cost more than a trained network's. Stage 2 embeds the same 100
given masks for all. All run in turns in the precision that ``--precision auto`` takes. Each pipeline's memory
is the peak of a process of its own that reads the weights from files, runs both stages and embeds 20 class
names, less the peak of a process that imports the same and computes nothing.

    python benchmarks/engines.py                     # everything; several minutes
    python benchmarks/engines.py --quick             # 64 points, 8 masks
    python benchmarks/engines.py --table stage2      # pooled against crops of the same tower
    python benchmarks/engines.py --table pipelines   # whole analyses
    python benchmarks/engines.py --table bundled     # the bundled models, 960×720, with their weights
    python benchmarks/engines.py --table catalogue   # the seconds of each entry of the catalogue
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.cases import first, random_image, random_proposals
from benchmarks.published_size import SHAPES, write_ovseg
from benchmarks.random_weights import IMAGE_SIZE, load_clip, save_clip, save_sam
from benchmarks.sam import load_generator
from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.models import catalogue
from ovseg_demo.models.catalogue import CATALOGUE, SIMSEG_SETTINGS, ModelSpec
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.ui.examples import EXAMPLES
from ovseg_demo.vocabularies.class_lists import load_vocabulary

CONVNEXT = "convnext_base_w_320"


@dataclass(frozen=True)
class Model:
    """The networks of a row.

    Attributes:
        sam: a key of :data:`SAMS`.
        points: along a side of the grid.
        clip: a model of open_clip's registry.
        regions: how it reads masked regions.
    """

    sam: str
    points: int
    clip: str
    regions: str


STAGE_2: Mapping[str, tuple[str, str]] = {
    "ViT-B/16, crops": ("ViT-B-16", "crops"),
    "ViT-B/16, TextRegion": ("ViT-B-16", "text-region"),
    "ViT-B/16, TextRegion, native tiles": ("ViT-B-16", "text-region-native"),
    "ViT-L/14, crops": ("ViT-L-14", "crops"),
    "ViT-L/14, TextRegion": ("ViT-L-14", "text-region"),
    "ViT-L/14, TextRegion, native tiles": ("ViT-L-14", "text-region-native"),
    "ViT-L/14@336, crops": ("ViT-L-14-336", "crops"),
    "ViT-L/14@336, TextRegion": ("ViT-L-14-336", "text-region"),
    "ConvNeXt-B, crops": (CONVNEXT, "crops"),
    "ConvNeXt-B, FC-CLIP": (CONVNEXT, "fc-clip"),
    "ConvNeXt-B, soft pooling": (CONVNEXT, "soft-pooling"),
}
"""The CLIP of each row, and how it reads regions."""
PIPELINES: Mapping[str, Model] = {
    "OVSeg R-101c's CLIP + SAM ViT-B": Model("SAM ViT-B", 32, "ViT-B-16", "crops"),
    "fast-photo": Model("MobileSAM", 16, CONVNEXT, "fc-clip"),
    "TextRegion ViT-B/16 + MobileSAM": Model("MobileSAM", 16, "ViT-B-16", "text-region"),
    "TextRegion ViT-L/14@336 + MobileSAM": Model("MobileSAM", 16, "ViT-L-14-336", "text-region"),
}
NOTHING = "nothing"
NAMES = 20

SAM_OF: Mapping[str, str] = {
    catalogue.SAM_VIT_H.name: "SAM ViT-H",
    catalogue.SAM_VIT_L.name: "SAM ViT-L",
    catalogue.SAM_VIT_B.name: "SAM ViT-B",
    catalogue.MOBILE_SAM.name: "MobileSAM",
    catalogue.REPVIT_SAM.name: "RepViT-SAM",
}
CLIP_OF: Mapping[str, str] = {
    catalogue.CLIP_VIT_L14.name: "ViT-L-14",
    catalogue.CLIP_VIT_B16.name: "ViT-B-16",
    catalogue.CLIP_VIT_L14_336.name: "ViT-L-14-336",
    catalogue.CLIP_CONVNEXT_B.name: CONVNEXT,
    catalogue.OVSEG_CLIP_L.name: "ViT-L-14",
    catalogue.OVSEG_SWIN_B.name: "ViT-L-14",
    catalogue.OVSEG_SWIN_B_PROMPTS.name: "ViT-L-14",
    catalogue.OVSEG_R101C.name: "ViT-B-16",
    catalogue.SIMSEG_CROSS_DATASET.name: "ViT-B-16",
    catalogue.SIMSEG_ZERO_SHOT.name: "ViT-B-16",
}
"""The network of the same size for each weights file of the catalogue."""

BUNDLED = ("sticker-world", "photo-mini")
BUNDLED_ON = {"a photograph": "pagoda.jpg", "a scene of Sticker World": "desert.jpg"}


class Pipeline:
    """Both stages of one row; each network is read when it is first needed.

    Args:
        model: the networks.
        folder: of their weights files.
        options: of the command line.
    """

    def __init__(self, model: Model, folder: Path, options: argparse.Namespace):
        self._model, self._folder = model, folder
        self._points = max(1, model.points * options.points // 32)
        self._runtime = Runtime.resolve(options.device)
        self._image = random_image(*IMAGE_SIZE)
        self._masks = random_proposals(options.masks, IMAGE_SIZE)

    @cached_property
    def _propose(self) -> SamProposalGenerator:
        path = save_sam(self._model.sam, self._folder)
        return load_generator(path, points_per_side=self._points, runtime=self._runtime.with_float32())

    @cached_property
    def _classifier(self) -> RegionClassifier:
        return load_clip(save_clip(self._model.clip, self._folder), self._model.regions, self._runtime)

    def stage1(self) -> Proposals:
        """Return the masks that the generator proposes."""
        return self._propose(self._image)

    def stage2(self) -> None:
        """Embed the given masks."""
        self._classifier.embed_regions(self._masks)

    def embed_names(self) -> None:
        """Embed class names."""
        names = load_vocabulary("ade20k-150").class_names[:NAMES]
        self._classifier.embed_names(names, "vild")

    def save(self) -> None:
        """Write the weights files that are not there yet."""
        save_sam(self._model.sam, self._folder)
        save_clip(self._model.clip, self._folder)


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--table", choices=TABLES, help="one table; by default all")
    parser.add_argument("--points", type=int, default=32, help="points along a side of the grid")
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--crops", type=int, default=20, help="of the masks, that are timed as crops")
    parser.add_argument("--folder", type=Path, help="keep the weights files here")
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
            pipeline = Pipeline(PIPELINES[options.only], options.folder, options)
            pipeline.stage1()
            pipeline.stage2()
            pipeline.embed_names()
        harness.print_peak_memory()
        return
    harness.start("First analyses", options)
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        for name, compare in TABLES.items():
            if options.table in (None, name):
                compare(options)


def compare_stage2(options: argparse.Namespace) -> None:
    """Print the time of each way to read the masks, and crops ÷ pooled for the same tower.

    Crops cost the same each, so only some are timed.
    """
    runtime, masks = Runtime.resolve(options.device), random_proposals(options.masks, IMAGE_SIZE)
    rows, crops = [], {}
    for name, (clip, regions) in STAGE_2.items():  # one network in memory at a time
        classifier = load_clip(save_clip(clip, options.folder), regions, runtime)
        tower = name.split(",")[0]
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
    pipelines = {name: Pipeline(model, options.folder, options) for name, model in PIPELINES.items()}
    for pipeline in pipelines.values():
        pipeline.save()
    stages = {
        (name, stage): getattr(pipeline, stage)
        for name, pipeline in pipelines.items()
        for stage in ("stage1", "stage2")
    }
    timings = harness.alternate(stages, options.repeats)
    idle = _peak(NOTHING, options)
    memory = {name: _peak(name, options) - idle for name in PIPELINES}
    first_row = next(iter(PIPELINES))
    totals = {name: _sum(timings[name, "stage1"], timings[name, "stage2"]) for name in PIPELINES}
    rows = [
        [
            name,
            f"{total.wall:.1f} ({total.processor:.1f})",
            totals[first_row].over(total),
            " + ".join(f"{timings[name, stage].wall:.1f}" for stage in ("stage1", "stage2")),
            f"{memory[name] / 2**30:.2f} GiB, {memory[name] / memory[first_row]:.2f}",
        ]
        for name, total in totals.items()
    ]
    harness.print_table(
        [
            "analysis",
            "s (processor s)",
            "first row ÷ this row; fast-photo's bar 6",
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


def measure_catalogue(options: argparse.Namespace) -> None:
    """Print for each entry of the catalogue the seconds of a first analysis, 1024×768, 100 masks.

    The stages are measured once for each network, and each entry adds its own. MaskCLIP++'s image tower is
    an un-tuned one, which takes as long.
    """
    runtime, measured = Runtime.resolve(options.device), {}

    def once(key: Hashable, run: Callable[[], harness.Timing]) -> harness.Timing:
        if key not in measured:
            measured[key] = run()
        return measured[key]

    rows = []
    for spec in CATALOGUE.values():
        parts = [once(key, partial(run, runtime, options)) for key, run in _stages_of(spec)]
        total = reduce(_sum, parts)
        cores = f"{total.processor / options.threads:.1f}"
        rows.append([spec.name, f"{total.wall:.1f} ({total.processor:.1f})", cores, spec.seconds])
    harness.print_table(
        ["model", "s (processor s)", f"processor s ÷ {options.threads} threads", "in the catalogue"], rows
    )


Stage = tuple[Hashable, Callable[[Runtime, argparse.Namespace], harness.Timing]]


def _stages_of(spec: ModelSpec) -> Iterator[Stage]:
    """Yield what an analysis with a model runs: a key of what is measured, and the measurement."""
    if spec.bundled:
        yield spec.name, partial(_time_bundled, spec.name)
        return
    if "sam" in spec.parts:
        points = spec.sam.thresholds.get("points_per_side", 32)
        sam, settings = SAM_OF[spec.parts["sam"].name], spec.sam.long_side
        yield (sam, points, settings), partial(_time_sam, sam, points, settings)
    elif "ovseg" in spec.parts:
        yield "MaskFormer", _time_maskformer
    clip = spec.parts.get("clip") or spec.parts.get("ovseg")
    if clip is not None:
        regions = "crops" if spec.regions == "auto" else spec.regions
        yield (CLIP_OF[clip.name], regions), partial(_time_clip, CLIP_OF[clip.name], regions)


def _time_sam(
    name: str, points: int | str, long_side: int | None, runtime: Runtime, options: argparse.Namespace
) -> harness.Timing:
    path, image = save_sam(name, options.folder), random_image(*IMAGE_SIZE)
    how = {"points_per_side": points, "long_side": long_side, "runtime": runtime.with_float32()}
    generator = load_generator(path, **how)
    path.unlink()  # the large ones would fill the disk
    return harness.alternate({"": partial(generator, image)}, options.repeats, warm_up=False)[""]


def _time_clip(name: str, regions: str, runtime: Runtime, options: argparse.Namespace) -> harness.Timing:
    """Return the time of all masks; crops cost the same each, so only some are timed."""
    classifier = load_clip(save_clip(name, options.folder), regions, runtime)
    masks = random_proposals(options.masks, IMAGE_SIZE)
    some = first(masks, options.crops) if regions == "crops" else masks
    run = partial(classifier.embed_regions, some)
    timing = harness.alternate({"": run}, options.repeats, warm_up=False)[""]
    times = len(masks) / len(some)
    return harness.Timing(timing.wall * times, timing.processor * times)


def _time_maskformer(runtime: Runtime, options: argparse.Namespace) -> harness.Timing:
    path = options.folder / "ovseg.pth"
    write_ovseg(path, SHAPES / "ovseg_R101c_vitB16_ft_mpt.shapes.txt")
    network = build_maskformer(read_checkpoint(path, CheckpointKind.OVSEG).maskformer())
    settings = SIMSEG_SETTINGS.generator_options()
    generator = MaskFormerProposalGenerator(network, runtime=runtime.with_float32(), **settings)
    run = partial(generator, random_image(*IMAGE_SIZE))
    return harness.alternate({"": run}, options.repeats, warm_up=False)[""]


def _time_bundled(name: str, runtime: Runtime, options: argparse.Namespace) -> harness.Timing:
    shift, segmenter = count(), load_segmenter(name, device=options.device)
    image = np.asarray(Image.open(EXAMPLES / "pagoda.jpg").convert("RGB").resize(IMAGE_SIZE[::-1]))
    segmenter.analyze(image)  # reads the weights

    def analyze() -> None:
        segmenter.analyze(np.roll(image, next(shift) + 1, axis=1))

    return harness.alternate({"": analyze}, options.repeats, warm_up=False)[""]


def _sum(one: harness.Timing, two: harness.Timing) -> harness.Timing:
    return harness.Timing(one.wall + two.wall, one.processor + two.processor)


def _peak(name: str, options: argparse.Namespace) -> int:
    arguments = ["--only", name, "--points", str(options.points), "--masks", str(options.masks)]
    arguments += ["--threads", str(options.threads), "--folder", str(options.folder)]
    return harness.peak_memory("engines.py", arguments)


TABLES: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "stage2": compare_stage2,
    "pipelines": compare_pipelines,
    "bundled": compare_bundled,
    "catalogue": measure_catalogue,
}


if __name__ == "__main__":
    main()
