"""Time and memory of ``ovseg segment`` on a photo-sized image with random weights of published size.

The script writes random weights of a published OVSeg model and of SAM ViT-B in the published formats. Then it
runs ``python -m ovseg_demo segment`` in a process of its own, once with each proposal generator, and prints
the time and the peak memory. The target is at most 16 GiB.

    python -m benchmarks.published_size [--ovseg swinbase_vitL14|R101c_vitB16] [--keep DIR]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from segment_anything import sam_model_registry

SHAPES = Path(__file__).parents[1] / "tests" / "data"
WIDTH, HEIGHT = 1280, 960
CLASSES = "saturn v, toys, desk, wall, sunflowers"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ovseg", choices=("swinbase_vitL14", "R101c_vitB16"), default="swinbase_vitL14")
    parser.add_argument("--generators", nargs="+", default=["sam", "maskformer"])
    parser.add_argument("--keep", type=Path, help="keep the weights (2.5 GB) in this folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        ovseg, sam, image = (
            folder / f"{arguments.ovseg}.pth",
            folder / "sam_vit_b.pth",
            folder / "image.png",
        )
        if not ovseg.exists():
            write_ovseg(ovseg, SHAPES / f"ovseg_{arguments.ovseg}_ft_mpt.shapes.txt")
        if not sam.exists():
            torch.save(sam_model_registry["vit_b"]().state_dict(), sam)
        write_image(image)
        print("| generator | seconds | peak memory, GiB |\n|---|---|---|")
        for generator in arguments.generators:
            seconds, peak = segment(ovseg, sam, image, generator, folder / "out")
            print(f"| {generator} | {seconds:.0f} | {peak:.1f} |", flush=True)


def write_ovseg(path: Path, shapes: Path) -> None:
    """Write a full OVSeg file of these shapes with seeded random weights, which give finite numbers."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for line in shapes.read_text().splitlines():
        name, *sizes = line.split()
        shape = [int(size) for size in sizes]
        if name.endswith("relative_position_index"):
            tensors[name] = torch.zeros(shape, dtype=torch.int64)
        elif name.endswith(("running_var", "norm.weight")) or (".ln_" in name and name.endswith("weight")):
            tensors[name] = torch.ones(shape)
        else:
            tensors[name] = 0.02 * torch.randn(shape, generator=generator)
    torch.save({"model": tensors}, path)


def write_image(path: Path) -> None:
    """Write an image with edges and texture at many scales."""
    rng = np.random.default_rng(0)
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cells in (4, 12, 40, 160):
        noise = rng.uniform(0, 255, (cells * 3 // 4, cells, 3)).astype(np.float32)
        image += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / 4
    Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(path)


def segment(ovseg: Path, sam: Path, image: Path, generator: str, output: Path) -> tuple[float, float]:
    """Return the seconds and the peak memory in GiB of one run of the command."""
    command = [sys.executable, "-m", "ovseg_demo", "segment", str(image), "--classes", CLASSES]
    command += ["--ovseg", str(ovseg), "--sam", str(sam), "--generator", generator, "--output", str(output)]
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of the largest child so far
    return seconds, peak / 2**30


if __name__ == "__main__":
    main()
