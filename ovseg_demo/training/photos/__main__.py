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
    sam.add_argument(
        "--trunk", type=Path, required=True, help="file with EfficientNet-Lite0's ImageNet weights"
    )
    sam.add_argument("--out", type=Path, default=Path("runs/photos-sam"), help="folder of the run")
    sam.add_argument("--minutes", type=float, help="time budget, with which the schedule ends")
    sam.add_argument("--steps", type=int)
    sam.add_argument("--batch-size", type=int)
    sam.add_argument("--precision", default="auto")
    features = stages.add_parser("features", help="pooled features of all labelled regions")
    features.add_argument("--root", type=Path, required=True, help="folder of labelled photographs")
    features.add_argument("--weights", type=Path, required=True, help="EfficientNet-Lite2's ImageNet weights")
    features.add_argument("--stamps", type=Path, help="folder of tuxpaint's stamps")
    features.add_argument("--out", type=Path, default=Path("runs/photos-features"))
    text = stages.add_parser("text", help="the text tower, distilled from a sentence encoder")
    text.add_argument("--root", type=Path, required=True, help="folder of labelled photographs")
    text.add_argument("--teacher", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    text.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    text.add_argument("--out", type=Path, default=Path("runs/photos-text"))
    text.add_argument("--minutes", type=float)
    text.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default: 2)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.stage == "features":
        from ovseg_demo.training.photos import region_features

        region_features.train(
            options.root, options.stamps, "tf_efficientnet_lite2", options.weights, options.out
        )
        return
    if options.stage == "text":
        from ovseg_demo.training.photos import sources, text_tower

        names = [photograph.name.lower() for photograph in sources.read_imagenet_sample(options.root)]
        settings = text_tower.PHOTO_MINI_TEXT
        if options.minutes:
            settings = replace(settings, loop=replace(settings.loop, minutes=options.minutes))
        runtime = Runtime.resolve("auto", options.precision)
        print(text_tower.train(settings, options.teacher, options.wordnet, names, options.out, runtime))
        return
    from ovseg_demo.training.photos import sam as stage

    asked = {name: getattr(options, name) for name in ("minutes", "steps", "batch_size")}
    loop = replace(
        stage.PHOTO_MINI.loop, **{name: value for name, value in asked.items() if value is not None}
    )
    runtime = Runtime.resolve("auto", options.precision)
    print(
        stage.train(replace(stage.PHOTO_MINI, loop=loop), options.root, options.trunk, options.out, runtime)
    )


if __name__ == "__main__":
    main()
