"""``python -m ovseg_demo.training.photos STAGE``: the trainings for photographs, one command each."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from ovseg_demo.runtime.devices import Runtime


def main(arguments: list[str] | None = None) -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(prog="ovseg_demo.training.photos", description=__doc__)
    stages = parser.add_subparsers(dest="stage", required=True)
    sam = stages.add_parser("sam", help="Segment Anything with a convolutional encoder")
    sam.add_argument("--root", type=Path, required=True, help="folder of labelled photographs")
    sam.add_argument("--trunk", type=Path, required=True, help="file with EfficientNet-Lite0's ImageNet weights")
    sam.add_argument("--out", type=Path, default=Path("runs/photos-sam"), help="folder of the run")
    sam.add_argument("--minutes", type=float, help="time budget, with which the schedule ends")
    sam.add_argument("--steps", type=int)
    sam.add_argument("--batch-size", type=int)
    sam.add_argument("--precision", default="auto")
    options = parser.parse_args(arguments)
    torch.set_num_threads(2)
    from ovseg_demo.training.photos import sam as stage

    asked = {name: getattr(options, name) for name in ("minutes", "steps", "batch_size")}
    loop = replace(
        stage.PHOTO_MINI.loop, **{name: value for name, value in asked.items() if value is not None}
    )
    runtime = Runtime.resolve("auto", options.precision)
    print(stage.train(replace(stage.PHOTO_MINI, loop=loop), options.root, options.trunk, options.out, runtime))


if __name__ == "__main__":
    main()
