"""Time of stage 2: the published demo's loop over masked crops against ours, on weights of ViT-L/14 size.

python benchmarks/regions.py              # 100 crops: minutes a round
python benchmarks/regions.py --crops 32   # one batch of the published loop
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness, published
from benchmarks.cases import first, random_clip, random_proposals
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime

BAR = 3


def embed_regions(clip: MaskAdaptedClip, proposals: Proposals) -> np.ndarray:
    """Return the embeddings of the regions, without what else the classifier returns."""
    return clip.embed_regions(proposals).vectors


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument(
        "--clip", choices=("ViT-L-14", "ViT-B-16"), default="ViT-L-14", help="size of the CLIP"
    )
    parser.add_argument("--crops", type=int, default=100)
    options = parser.parse_args()
    if options.quick:
        options.crops = 4
    harness.start(f"{options.crops} masked crops, {options.clip}", options)

    proposals = random_proposals(options.crops, (960, 1280))
    tensors = random_clip(options.clip)
    plain = build_clip(tensors, device=options.device).requires_grad_(False)
    prompts = tensors[MASK_EMBEDDING].to(options.device)
    results: dict[str, np.ndarray] = {}

    def keep(name: str, embed: Callable[[Proposals], np.ndarray]) -> Callable[[int], None]:
        def run(count: int) -> None:
            results[name] = embed(first(proposals, count))

        return run

    embed_published = partial(published.embed_regions, plain, prompts)
    ways = [harness.Way("published", torch.float32, keep("published", embed_published))]
    for precision, dtype in harness.precisions(options.device).items():
        clip = MaskAdaptedClip.from_tensors(tensors, runtime=Runtime(torch.device(options.device), dtype))
        name = f"ours, {precision}"

        ways.append(harness.Way(name, dtype, keep(name, partial(embed_regions, clip))))
    harness.compare(ways, "crop", options.crops, BAR, options)
    expected = results["published"]  # of a few crops, from the run that counted operations
    for way in ways[1:]:
        cosines = (expected * results[way.name][: len(expected)]).sum(axis=1)
        print(f"\nLowest cosine of {way.name} with the published loop's embeddings: {cosines.min():.6f}")


if __name__ == "__main__":
    main()
