"""``python -m ovseg_demo.training.photos STAGE``: the trainings for photographs, one command each.

Stages in their order: ``sam`` (independent of the others), ``features``, ``text``, ``clip``, and
``maskformer``, which needs what ``sam`` and ``clip`` made. Each goes on where it was interrupted when the
same command is given again. At last, ``bundle`` makes the files of the bundled model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ovseg_demo.cli.exit_codes import SUCCESS, exit_code
from ovseg_demo.training.command import check_packages
from ovseg_demo.training.options import TrainingOptions
from ovseg_demo.training.resuming import check_checkpoint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; returns the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    stages = {
        "sam": _sam,
        "features": _features,
        "text": _text,
        "clip": _clip,
        "maskformer": _maskformer,
        "bundle": _bundle,
    }

    def run() -> int:
        check_packages()
        print(stages[options.stage](options))
        return SUCCESS

    return exit_code(run, resumes=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ovseg_demo.training.photos", description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="processor threads (default: 2)")
    stages = parser.add_subparsers(dest="stage", required=True)
    root = {"type": Path, "required": True, "help": "folder of labelled photographs"}
    wordnet = {"type": Path, "default": Path("/usr/share/wordnet"), "help": "folder of WordNet's files"}

    sam = stages.add_parser("sam", help="Segment Anything with a convolutional encoder")
    sam.add_argument("--root", **root)
    sam.add_argument(
        "--trunk", type=Path, required=True, help="file with EfficientNet-Lite0's ImageNet weights"
    )
    sam.add_argument("--stamps", type=Path, help="folder of tuxpaint's stamps, which are pasted, too")
    sam.add_argument("--out", type=Path, default=Path("runs/photos-sam"), help="folder of the run")
    sam.add_argument(
        "--learn-from", type=int, metavar="STAGE", help="the trunk's stages from this one learn, too"
    )
    _add_loop(sam)

    features = stages.add_parser("features", help="pooled features of all labelled regions")
    features.add_argument("--root", **root)
    features.add_argument("--trunk", type=Path, required=True, help="EfficientNet-Lite2's ImageNet weights")
    features.add_argument("--stamps", type=Path, help="folder of tuxpaint's stamps")
    features.add_argument("--out", type=Path, default=Path("runs/photos-features"))

    text = stages.add_parser("text", help="the text tower, distilled from a sentence encoder")
    text.add_argument("--root", **root)
    text.add_argument("--teacher", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    text.add_argument("--wordnet", **wordnet)
    text.add_argument("--init", type=Path, help="a text tower to start from, of at least as many tokens")
    text.add_argument("--out", type=Path, default=Path("runs/photos-text"))
    _add_loop(text)

    clip = stages.add_parser("clip", help="the image head adapted to masks, and the whole CLIP as a folder")
    clip.add_argument("--root", **root)
    clip.add_argument("--features", type=Path, default=Path("runs/photos-features"))
    clip.add_argument(
        "--text",
        type=Path,
        default=Path("runs/photos-text/weights.pt"),
        help="weights with the text tower: of the stage text, or of a whole CLIP",
    )
    clip.add_argument("--trunk", type=Path, required=True, help="EfficientNet-Lite2's ImageNet weights")
    clip.add_argument("--wordnet", **wordnet)
    clip.add_argument("--out", type=Path, default=Path("runs/photos-clip"))
    clip.add_argument("--hold-out", action="store_true", help="without the labels of every second COCO class")
    clip.add_argument("--unadapted", action="store_true", help="the untrained start, to compare with")

    maskformer = stages.add_parser("maskformer", help="a MaskFormer behind the trunk of Segment Anything")
    maskformer.add_argument("--root", **root)
    maskformer.add_argument("--sam", type=Path, default=Path("runs/photos-sam/weights.pt"))
    maskformer.add_argument("--clip", type=Path, default=Path("runs/photos-clip"), help="folder of the CLIP")
    maskformer.add_argument("--stamps", type=Path, help="folder of tuxpaint's stamps, which are pasted, too")
    maskformer.add_argument(
        "--out", type=Path, default=Path("runs/photos-maskformer"), help="folder of the run"
    )
    maskformer.add_argument("--side", type=int, default=384, help="of the squares that it sees, in pixels")
    _add_loop(maskformer)

    bundle = stages.add_parser("bundle", help="the files of the bundled model")
    bundle.add_argument("--sam", type=Path, default=Path("runs/photos-sam/weights.pt"))
    bundle.add_argument("--clip", type=Path, default=Path("runs/photos-clip"), help="folder of the CLIP")
    bundle.add_argument("--maskformer", type=Path, default=Path("runs/photos-maskformer/weights.pt"))
    bundle.add_argument("--out", type=Path, default=Path("weights/photo-mini"))
    return parser


def _add_loop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="time budget, with which the schedule ends")
    parser.add_argument("--steps", type=int, help="optimizer steps")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="float32",
        help="of activations (default: %(default)s)",
    )


def _choose(options: argparse.Namespace) -> TrainingOptions:
    """Return the options of the loop and the runtime, checked.

    Raises:
        ModelError: a number is out of its range.
    """
    names = ("minutes", "steps", "batch_size", "precision")
    return TrainingOptions(**{name: getattr(options, name) for name in names})


def _sam(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos import sam

    chosen = _choose(options)
    settings = replace(sam.PHOTO_MINI, loop=chosen.apply_to(sam.PHOTO_MINI.loop))
    if options.learn_from is not None:
        settings = replace(settings, frozen_stages=options.learn_from)
    return sam.train(settings, options.root, options.trunk, options.out, chosen.runtime(), options.stamps)


def _features(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos import clip, region_features

    region_features.train(options.root, options.stamps, clip.TRUNK, options.trunk, options.out)
    return options.out


def _text(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos import text_tower

    chosen = _choose(options)
    settings = text_tower.PHOTO_MINI_TEXT
    settings = replace(settings, loop=chosen.apply_to(settings.loop))
    return text_tower.train(
        settings,
        options.root,
        options.teacher,
        options.wordnet,
        options.out,
        chosen.runtime(),
        options.init,
    )


def _clip(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos import clip, naming, text_tower

    return clip.train(
        options.root,
        options.features,
        options.text,
        options.trunk,
        options.wordnet,
        options.out,
        text_settings=text_tower.PHOTO_MINI_TEXT,
        settings=naming.NamingSettings(),
        hold_out=options.hold_out,
        adapted=not options.unadapted,
    )


def _maskformer(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos import maskformer

    chosen = _choose(options)
    inputs = maskformer.describe_inputs(options.root, options.sam, options.clip, options.stamps)
    check_checkpoint(options.out, inputs)
    masks = maskformer.teacher_folder(options.out, options.root, options.sam)
    maskformer.distil(options.root, options.sam, masks)
    texts = maskformer.embed_source_names(options.root, options.clip)
    settings = maskformer.photo_mini(len(next(iter(texts.values()))))
    settings = replace(settings, side=options.side, loop=chosen.apply_to(settings.loop))
    return maskformer.train(
        settings,
        options.root,
        options.sam,
        texts,
        masks,
        options.out,
        chosen.runtime(),
        options.stamps,
        options.clip,
    )


def _bundle(options: argparse.Namespace) -> Path:
    from ovseg_demo.training.photos.bundle import bundle

    return bundle(options.sam, options.clip, options.maskformer, options.out)


if __name__ == "__main__":
    sys.exit(main())
