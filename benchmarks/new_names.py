"""Time of new class names for the same image: the published demo against ours.

The published demo reads both models, proposes masks, embeds crops and encodes all names again. Ours uses the
analysis of the image and the cached text embeddings of known names. To save time, the yardstick runs with
fewer points and crops than the published 1,024 and about 100. This is in the yardstick's favour, so the
printed ratios are lower bounds.

    python benchmarks/new_names.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, published
from benchmarks.cases import GivenProposals, random_clip, random_proposals
from benchmarks.sam import make_case
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.segmenter import Segmenter

BAR = 1_000
FIRST = "pillow, pipe, sweater, shirt, jeans jacket"
SECOND = "shoes, cabinet, handbag, photo frame, shirt"


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument(
        "--points", type=int, default=8, help="points along each side of the yardstick's grid"
    )
    parser.add_argument("--crops", type=int, default=16, help="number of crops that the yardstick embeds")
    options = parser.parse_args()
    if options.quick:
        options.points, options.crops = 2, 2
    harness.start(
        f"New names for an analyzed image; yardstick: {options.points**2} points, {options.crops} crops",
        options,
    )

    case = make_case("vit_b", None, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        stages = published_stages(case, Path(folder), options)
        timings = {name: harness.time_once(stage) for name, stage in stages.items()}
    yardstick = harness.Timing(
        sum(timing.wall for timing in timings.values()),
        sum(timing.processor for timing in timings.values()),
    )
    rows = [(name, f"{timing.wall:.2f} ({timing.processor:.2f})") for name, timing in timings.items()]
    total = f"{yardstick.wall:.2f} ({yardstick.processor:.2f})"
    harness.print_table(["the published demo's stages", "s (processor)"], [*rows, ("together", total)])
    compare(yardstick, case.image.shape[:2], options.device)


def compare(yardstick: harness.Timing, size: tuple[int, int], device: str) -> None:
    """Print the time of ours on an image of this size."""
    proposals = random_proposals(100, size)
    # The image tower's depth does not matter: the analysis holds the region embeddings.
    tensors = random_clip("ViT-L-14", image_layers=1)
    clip = MaskAdaptedClip.from_tensors(tensors, runtime=Runtime.resolve(device))
    segmenter = Segmenter({"sam": LazyModel(lambda: GivenProposals(proposals))}, LazyModel(lambda: clip))
    analysis = segmenter.analyze(proposals.working_image)

    def segment(names: str) -> harness.Timing:
        return harness.time_once(lambda: analysis.segment(names))

    segment(FIRST)
    new = segment(SECOND)
    known = harness.alternate({names: lambda names=names: segment(names) for names in (FIRST, SECOND)}, 5)
    slowest = max(known.values(), key=lambda timing: timing.wall)
    print()
    harness.print_table(
        ["ours, 100 masks", "time (processor)", f"published ÷ it; bar {BAR:,}"],
        [
            ["another set of cached names", harness.milliseconds(slowest), yardstick.over(slowest)],
            ["4 new names × 14 templates", harness.milliseconds(new), yardstick.over(new)],
        ],
    )


def published_stages(case, folder: Path, options) -> dict:
    """Return the published demo's stages by name, in order; each keeps its result for the later ones."""
    tensors = random_clip("ViT-L-14")
    torch.save(tensors, folder / "clip.pth")
    torch.save(case.sam.state_dict(), folder / "sam.pth")
    proposals = random_proposals(options.crops, case.image.shape[:2])
    names = SECOND.split(", ")
    kept = {}
    generator = case.generator("stock", options.points)

    def read() -> None:
        case.sam.load_state_dict(torch.load(folder / "sam.pth", weights_only=True))
        kept["tensors"] = torch.load(folder / "clip.pth", weights_only=True)
        kept["clip"] = build_clip(kept["tensors"], device=options.device).requires_grad_(False)

    def embed_regions() -> None:
        prompts = kept["tensors"][MASK_EMBEDDING].to(options.device)
        kept["regions"] = published.embed_regions(kept["clip"], prompts, proposals)

    def embed_names() -> None:
        kept["names"] = published.embed_names(kept["clip"], names)

    return {
        "read both models": read,
        f"propose at {options.points**2} points": lambda: generator(case.image),
        f"embed {options.crops} crops": embed_regions,
        f"embed {len(names)} names": embed_names,
        "label": lambda: published.label(proposals, kept["regions"], kept["names"]),
    }


if __name__ == "__main__":
    main()
