"""Time of SAM's image encoders at published size with random weights: ViT-B against the small encoders.

    python benchmarks/sam_encoders.py            # every encoder, in turns
    python benchmarks/sam_encoders.py --quick    # one round

An encoder encodes one padded image of 1024 × 1024 pixels (EfficientViT-SAM L0: 512 × 512). Only the encoder
is timed. The prompt encoder and the mask decoder are the same for all encoders; sam.py times them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.sam import VIT_B
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig, ImageEncoder
from ovseg_demo.proposals.sam.encoders.efficientvit import EfficientVitConfig, StageConfig
from ovseg_demo.proposals.sam.encoders.repvit import RepVitConfig
from ovseg_demo.proposals.sam.encoders.tiny_vit import TinyVitConfig
from ovseg_demo.runtime.allocator import keep_freed_memory

ENCODERS: dict[str, EncoderConfig] = {
    "SAM ViT-B": VIT_B.encoder,
    "MobileSAM": TinyVitConfig(
        embed_dims=(64, 128, 160, 320), depths=(2, 2, 6, 2), num_heads=(4, 5, 10), window_sizes=(7, 14, 7)
    ),
    "RepViT-SAM": RepVitConfig(embed_dims=(80, 160, 320, 640), depths=(6, 6, 34, 2)),
    "EfficientViT-SAM L0": EfficientVitConfig(
        stages=(
            StageConfig("conv", 32, 1),
            StageConfig("fused", 64, 1, 16, 4),
            StageConfig("fused", 128, 1, 16, 4),
            StageConfig("mobile", 256, 4, 16, 4),
            StageConfig("attention", 512, 4, 24, 6),
        ),
        neck_depth=4,
    ),
}
BAR = 8
"""Target of the time of ViT-B divided by that of MobileSAM's encoder."""


def make_encoder(config: EncoderConfig, device: str) -> ImageEncoder:
    """Return an encoder with random weights, in the same state as after a checkpoint is loaded."""
    torch.manual_seed(0)
    encoder = config.build(prompt_dim=256).eval()
    encoder.finish()
    return encoder.to(device)


@torch.inference_mode()
def encode(encoder: ImageEncoder, pixels: torch.Tensor) -> None:
    encoder.encode(pixels, after_block=lambda: None)


def main() -> None:
    parser = harness.make_parser(__doc__)
    options = parser.parse_args()
    keep_freed_memory()
    harness.start("SAM's image encoders", options)
    runs: dict[str, Callable[[], None]] = {}
    for name, config in ENCODERS.items():
        encoder = make_encoder(config, options.device)
        size = encoder.frame.image_size
        runs[name] = partial(encode, encoder, torch.randn(1, 3, size, size, device=options.device))
    timings = harness.alternate(runs, options.repeats)
    rate = harness.matrix_rate(torch.float32, options.device)
    rows = []
    for name, timing in timings.items():
        operations = harness.count_operations(runs[name])
        rows.append(
            [
                name,
                f"{timing.wall:.2f} ({timing.processor:.2f})",
                timings["SAM ViT-B"].over(timing),
                f"{operations / 1e9:.0f} GFLOP: {operations / rate / timing.wall:.0%}",
            ]
        )
    headings = ["encoder", "s (processor s)", f"ViT-B ÷ it; MobileSAM's bar {BAR}", "of the matrix rate"]
    harness.print_table(headings, rows)


if __name__ == "__main__":
    main()
