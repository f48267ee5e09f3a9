"""Time of stage 1: the mask generator of segment-anything against ours, on the same weights and thresholds.

    python benchmarks/sam.py                 # every figure; the stock generator takes minutes at 1,024 points
    python benchmarks/sam.py --quick         # 64 points, one round
    python benchmarks/sam.py --bundled       # the bundled network on a scene of Sticker World
    python benchmarks/sam.py --sam FILE      # a checkpoint of your own instead of random weights

Random weights give noisy masks at every point, which is expensive for both generators: many masks pass the
filters, and the stock generator has to encode tens of thousands of runs for each. The thresholds are
quantiles of the network's output.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.cases import random_image
from ovseg_demo.models.catalogue import find_model
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.generator import SamConfig, SamProposalGenerator, VitConfig, build_sam, new_sam
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.sticker_world import BENCHMARK_SEEDS, render_scene

VIT_B = SamConfig(
    encoder=VitConfig(
        image_size=1024,
        patch_size=16,
        embed_dim=768,
        depth=12,
        num_heads=12,
        mlp_dim=3072,
        window_size=14,
        global_attention=(2, 5, 8, 11),
    ),
)
SMALL = SamConfig(
    encoder=VitConfig(
        image_size=256,
        patch_size=8,
        embed_dim=192,
        depth=6,
        num_heads=6,
        mlp_dim=768,
        window_size=8,
        global_attention=(2, 5),
    ),
    prompt_dim=128,
    decoder_mlp_dim=512,
    iou_head_dim=128,
)
IMAGE_SIZES = {"vit_b": (768, 1024), "small": (480, 640)}
MASKS_COMPARED = 100


@dataclass(frozen=True)
class Case:
    """A network, an image, and thresholds with which the network proposes a realistic number of masks."""

    name: str
    sam: Sam
    image: np.ndarray
    known_thresholds: Mapping[str, float] | None = None
    device: str = "cpu"

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """The known thresholds, or those that 40% of the masks at 256 points pass by predicted IoU."""
        if self.known_thresholds is not None:
            return dict(self.known_thresholds)
        lenient = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
        everything = SamProposalGenerator(self.sam, points_per_side=16, **lenient)(self.image)
        return {
            "pred_iou_thresh": float(np.quantile(everything.scores, 0.6)),
            "stability_score_offset": 0.01,
            "stability_score_thresh": 0.5,
            "box_nms_thresh": 1.0,
        }

    def generator(self, kind: str, points_per_side: int) -> SamProposalGenerator:
        """Return the generator "stock", "float32" or "bfloat16"."""
        options = make_options(kind, self.device)
        return SamProposalGenerator(self.sam, points_per_side=points_per_side, **options, **self.thresholds)

    def save(self, path: Path, tensors: Mapping[str, Tensor] | None = None) -> None:
        """Write the weights to a file and the thresholds beside it, for :func:`load_generator`.

        ``tensors`` are the weights under a published file's names, where the network has others.
        """
        torch.save(tensors or self.sam.state_dict(), path)
        path.with_suffix(".json").write_text(json.dumps(self.thresholds))


def make_options(kind: str, device: str) -> dict[str, object]:
    """Return what makes a generator "stock", "float32" or "bfloat16"."""
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    implementation = "stock" if kind == "stock" else "fast"
    return {"implementation": implementation, "runtime": Runtime(torch.device(device), dtype)}


def load_generator(path: Path, **options: object) -> SamProposalGenerator:
    """Return the generator of a file of :meth:`Case.save`, built as the program does it."""
    thresholds = json.loads(path.with_suffix(".json").read_text())
    sam = build_sam(read_checkpoint(path, expect=CheckpointKind.SAM).sam())
    return SamProposalGenerator(sam, **options, **thresholds)


def make_case(
    name: str, checkpoint: Path | None, size: tuple[int, int] | None = None, device: str = "cpu"
) -> Case:
    """Return the case "vit_b" or "small", with seeded random weights unless a checkpoint is given."""
    height, width = size or IMAGE_SIZES[name]
    image = random_image(height, width)
    if checkpoint:
        tensors = read_checkpoint(checkpoint, expect=CheckpointKind.SAM).sam()
        return Case(checkpoint.name, build_sam(tensors), image, {}, device)
    sam = random_sam({"vit_b": VIT_B, "small": SMALL}[name])
    title = {"vit_b": "ViT-B size", "small": "small SAM"}[name]
    return Case(f"{title}, random weights", sam, image, device=device)


def bundled_case(device: str = "cpu") -> Case:
    """Return the bundled network with its own thresholds, and a scene of Sticker World, 640×480."""
    spec = find_model("sticker-world")
    tensors = read_checkpoint(spec.parts["sam"].path(), expect=CheckpointKind.SAM).sam()
    image = render_scene(BENCHMARK_SEEDS[0], "validation", (640, 480)).image
    thresholds = {name: value for name, value in spec.sam.thresholds.items() if name != "points_per_side"}
    return Case("bundled SAM, a scene of Sticker World", build_sam(tensors), image, thresholds, device)


def random_sam(config: SamConfig) -> Sam:
    """Return a seeded random network in which no weight is zero, and which predicts IoUs around 1.

    A threshold of at most 0, as negative predictions would need, filters nothing.
    """
    torch.manual_seed(0)
    sam = new_sam(config)
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.add_(1)
    return sam.eval()


def agreement(ours: Proposals, stock: Proposals) -> str:
    """Return our number of masks, and how closely they match the stock generator's best masks."""
    found = [
        max(overlaps(mask, ours.packed_masks), default=0.0) for mask in stock.packed_masks[:MASKS_COMPARED]
    ]
    if not found:
        return f"{len(ours)}"
    return f"{len(ours)}; IoU median {np.median(found):.6f}, lowest {min(found):.6f}"


def overlaps(mask: np.ndarray, others: np.ndarray) -> Iterator[float]:
    """Yield the IoU of a bit-packed mask with each of several others."""
    for other in others:
        union = np.bitwise_count(mask | other).sum()
        yield float(np.bitwise_count(mask & other).sum() / union)


def compare_speed(case: Case, points_per_side: int, repeats: int, kinds: list[str]) -> None:
    """Print the times of the stock generator and of ours, and the agreement of their masks."""
    results: dict[str, Proposals] = {}
    runs = {kind: _run(case.generator(kind, points_per_side), case.image, results, kind) for kind in kinds}
    timings = harness.alternate(runs, repeats, warm_up=points_per_side < 16)
    height, width = case.image.shape[:2]
    print(f"\n{case.name}, {width}×{height}, {points_per_side**2:,} points, median of {repeats}\n")
    operations = harness.count_operations(runs["float32"])
    rows = []
    for kind, timing in timings.items():
        limit = operations / harness.matrix_rate(
            torch.bfloat16 if kind == "bfloat16" else torch.float32, case.device
        )
        rows.append(
            [
                kind,
                f"{timing.wall:.2f} ({timing.processor:.2f})",
                timings["stock"].over(timing) if "stock" in timings else "–",
                f"{limit:.2f} s, {limit / timing.wall:.0%}",
                agreement(results[kind], results["stock"]) if "stock" in timings else len(results[kind]),
            ]
        )
    harness.print_table(
        [
            "generator",
            "s (processor s)",
            "stock ÷ it",
            f"{operations / 1e12:.2f} TFLOP take",
            "masks, and stock masks among them",
        ],
        rows,
    )


def _run(generator, image: np.ndarray, results: dict[str, Proposals], kind: str) -> Callable[[], None]:
    def run() -> None:
        results[kind] = generator(image)

    return run


def compare_memory(case: Case, options: argparse.Namespace, kinds: list[str]) -> None:
    """Print the peak memory of each generator, run in a process of its own that reads the weights' file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sam.pth"
        case.save(file)
        arguments = ["--threads", str(options.threads), "--points", str(options.points)]
        arguments += ["--model", options.model, "--file", str(file)]
        peaks = {
            kind: harness.peak_memory("sam.py", [*arguments, "--only", kind]) for kind in ["nothing", *kinds]
        }
    print(f"\nPeak memory, {options.points**2:,} points\n")
    stock = peaks.get("stock")
    harness.print_table(
        ["generator", "MiB", "÷ stock"],
        [[kind, peak >> 20, f"{peak / stock:.2f}" if stock else "–"] for kind, peak in peaks.items()],
    )


def measure_growth(case: Case, kind: str, repeats: int) -> None:
    """Print the growth of the time with points and with pixels."""
    height, width = case.image.shape[:2]
    variants = {f"{side**2:,} points, {width}×{height}": (case, side) for side in (4, 8, 16)}
    for scale in (2, 4):
        size = (height * scale, width * scale)
        larger = replace(case, image=random_image(*size))
        variants[f"64 points, {size[1]}×{size[0]}"] = (larger, 8)
    runs = {
        name: _run(case.generator(kind, side), case.image, {}, kind)
        for name, (case, side) in variants.items()
    }
    print(f"\nGrowth, {case.name}, ours in {kind}\n")
    timings = harness.alternate(runs, repeats)
    harness.print_table(
        ["", "s", "processor s"],
        [[name, f"{t.wall:.2f}", f"{t.processor:.2f}"] for name, t in timings.items()],
    )


def parse_options() -> argparse.Namespace:
    parser = harness.make_parser(__doc__)
    parser.add_argument(
        "--model", choices=["vit_b", "small"], default="vit_b", help="size of the random network"
    )
    parser.add_argument("--sam", type=Path, help="a SAM checkpoint, used with the published thresholds")
    parser.add_argument("--bundled", action="store_true", help="the bundled network, 256 points, no memory")
    parser.add_argument("--points", type=int, default=32, help="points along each side of the grid")
    parser.add_argument("--no-stock", action="store_true", help="do not run the slow yardstick")
    parser.add_argument("--growth", action="store_true", help="measure growth instead of the comparison")
    parser.add_argument("--memory", action="store_true", help="measure nothing but the peak memory")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # one run in a process of its own, for its memory
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)  # its weights
    options = parser.parse_args()
    if options.bundled:
        options.points = 16
    if options.quick:
        options.points = 8
    return options


def main() -> None:
    options = parse_options()
    if options.only:
        torch.set_num_threads(options.threads)
        if options.only != "nothing":
            how = make_options(options.only, options.device)
            generate = load_generator(options.file, points_per_side=options.points, **how)
            generate(random_image(*IMAGE_SIZES[options.model]))
        harness.print_peak_memory()
        return
    harness.start("Segment Anything", options)
    if options.bundled:
        case = bundled_case(options.device)
    else:
        case = make_case(options.model, options.sam, device=options.device)
    kinds = [*([] if options.no_stock else ["stock"]), *harness.precisions(options.device)]
    if options.growth:
        measure_growth(case, "float32", options.repeats)
        return
    if not options.memory:
        compare_speed(case, options.points, options.repeats, kinds)
    if options.memory or (not (options.quick or options.bundled) and options.device == "cpu"):
        compare_memory(case, options, kinds)


if __name__ == "__main__":
    main()
