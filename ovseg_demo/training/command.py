"""``python -m ovseg_demo train STEP``: the pipeline, step by step or all of it."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from ovseg_demo.errors import MissingDependencyError, ModelError
from ovseg_demo.training.options import TrainOptions

STEPS = {
    "clip": ("clip_pretraining", "contrastive pre-training of CLIP on whole scenes and unmasked crops"),
    "maskformer": ("maskformer", "MaskFormer with open-vocabulary class embeddings, on the base classes"),
    "sam": ("sam", "Segment Anything from point prompts, class-agnostic"),
    "pairs": ("pairs", "mask-noun pairs mined from captions; no labels are used"),
    "label-pairs": ("label_pairs", "mask-noun pairs from perfect labels"),
    "finetune": ("clip_finetuning", "CLIP's image tower on the mask-noun pairs, text tower locked"),
    "average": ("clip_average", "the mean of two fine-tunings"),
    "mask-prompts": ("mask_prompts", "mask prompts on a frozen CLIP"),
    "bundle": ("bundle", "put the parts together as files of one model"),
}
"""Name on the command line → (module with ``train(options)``, what it does)."""

ALL = (
    ("clip", "clip", {}),
    ("maskformer", "maskformer", {}),
    ("sam", "sam", {"clip": "clip/weights.pt"}),
    # In this world a class has few names, and labels teach them better than captions do (docs/results.md).
    ("pairs", "pairs", {"sam": "sam/weights.pt"}),
    ("label-pairs", "label-pairs", {"sam": "sam/weights.pt"}),
    ("finetune", "finetune", {"pairs": "label-pairs"}),
    ("mask-prompts", "mask-prompts", {"pairs": "label-pairs"}),
    ("bundle", "bundle", {}),
    # What docs/results.md compares with: prompts alone, the same without masks, and the paper's pairs.
    ("label-pairs", "label-pairs-perfect", {}),
    (
        "mask-prompts",
        "mask-prompts-only",
        # On a frozen CLIP, only large steps change anything.
        {"pairs": "label-pairs-perfect", "init": "clip/weights.pt", "contrastive": True, "rate": 50.0},
    ),
    ("finetune", "finetune-unmasked", {"pairs": "label-pairs", "unmasked": True}),
    ("finetune", "finetune-captions", {}),
    ("mask-prompts", "mask-prompts-captions", {"init": "finetune-captions/weights.pt"}),
)
"""What ``train all`` does, in order: step, sub-folder, and options, whose paths are relative to ``--out``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``train`` understands."""
    parser.add_argument(
        "step", choices=[*STEPS, "all"], help="; ".join(f"{k}: {v[1]}" for k, v in STEPS.items())
    )
    parser.add_argument("--preset", help="sizes and hyper-parameters: sticker-world (default), coco or toy")
    parser.add_argument(
        "--out", type=Path, help="folder of the runs (default: runs); an interrupted one goes on"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the preset's")
    parser.add_argument("--minutes", type=float, help="time budget of the step; its schedule ends with it")
    parser.add_argument("--batch-size", type=int, help="samples a step, over all processes")
    parser.add_argument("--rate", type=float, help="multiply the learning rates, for another batch size")
    parser.add_argument("--seed", type=int, help="default 0")
    parser.add_argument("--workers", type=int, help="processes that load samples, or propose masks")
    parser.add_argument("--init", type=Path, help="start from these weights (published file format)")
    parser.add_argument(
        "--clip",
        type=Path,
        help="CLIP for maskformer and pairs (default: that of `train clip`), or for sam to start from",
    )
    parser.add_argument(
        "--sam", type=Path, help="Segment Anything whose masks `pairs` and `label-pairs` take, too"
    )
    parser.add_argument("--root", type=Path, help="data set in its official layout, instead of Sticker World")
    parser.add_argument(
        "--pairs", type=Path, help="folder of mask-noun pairs (default: those of `train pairs`)"
    )
    parser.add_argument("--share", type=float, help="of --init's weights in what `average` makes (0.5)")
    parser.add_argument("--name", help="sub-folder of --out, instead of the step's name; for variants")
    parser.add_argument("--unmasked", action="store_true", help="fine-tune on unmasked crops: a control")
    parser.add_argument(
        "--contrastive",
        action="store_true",
        help="adapt CLIP with the published loss, over a batch, instead of the preset's",
    )
    parser.add_argument("--depth", type=int, help="layers with new mask prompts, instead of the preset's")
    parser.add_argument("--device", help="auto, cpu, cuda or mps")
    parser.add_argument("--precision", help="auto, float32 or bfloat16")


def run(arguments: argparse.Namespace) -> int:
    """Run the step, or all of them one after the other; returns the exit status.

    Raises:
        MissingDependencyError: the packages for training are not installed.
    """
    if find_spec("accelerate") is None:
        raise MissingDependencyError(
            'Training needs a package that is not installed; run "pip install accelerate".'
        )
    names = {field.name for field in fields(TrainOptions)}
    given = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    options = TrainOptions(**given)
    plan = [(arguments.step, options)] if arguments.step != "all" else _plan_all(options)
    for step, step_options in plan:
        module = import_module(f"ovseg_demo.training.{STEPS[step][0]}")
        print(f"{step}: {module.train(step_options)}")
    return 0


def _plan_all(options: TrainOptions) -> list[tuple[str, TrainOptions]]:
    if options.preset == "coco":
        raise ModelError(
            "The preset coco starts from published weights: train its steps one by one, with --init."
        )
    for option in ("clip", "init", "name", "pairs", "sam", "steps", "unmasked", "contrastive", "depth"):
        if getattr(options, option):
            raise ModelError(
                f"--{option} belongs to one step; leave it out of `train all`, or train that step."
            )
    plan = []
    for step, name, changes in ALL:
        changed = {
            key: options.out / value if isinstance(value, str) else value for key, value in changes.items()
        }
        if "rate" in changed and options.rate is not None:  # one comes on top of the other
            changed["rate"] *= options.rate
        plan.append((step, replace(options, name=name, **changed)))
    return plan
