"""The command ``train STAGE``: one stage of the pipeline, or all of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, NamedTuple

from ovseg_demo.cli.exit_codes import SUCCESS
from ovseg_demo.errors import MissingDependencyError, ModelError
from ovseg_demo.training.arguments import add_options, read_options
from ovseg_demo.training.options import (
    AllOptions,
    BundleOptions,
    ClipOptions,
    FinetuneOptions,
    LabelPairsOptions,
    MaskFormerOptions,
    MaskPromptOptions,
    PairsOptions,
    SamOptions,
    StageOptions,
)
from ovseg_demo.training.presets import find_preset

_PACKAGE = "ovseg_demo.training"
_PACKAGES = ("accelerate", "inflect")
"""The extra ``train``."""


class Stage(NamedTuple):
    """A stage of the pipeline.

    Attributes:
        options: class of its options, which names the stage.
        module: module of this package with ``train(options) -> Path``; imported when the stage runs.
        summary: one line for the help.
    """

    options: type[StageOptions]
    module: str
    summary: str


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        stage.options.stage: stage
        for stage in (
            Stage(
                ClipOptions, "clip_pretraining", "pre-train CLIP on scenes and unmasked crops with captions"
            ),
            Stage(MaskFormerOptions, "maskformer", "train MaskFormer with class embeddings in CLIP's space"),
            Stage(SamOptions, "sam", "train Segment Anything from point prompts, without classes"),
            Stage(PairsOptions, "pairs", "mine mask-noun pairs from captions, without labels"),
            Stage(LabelPairsOptions, "label_pairs", "make mask-noun pairs from labels"),
            Stage(FinetuneOptions, "clip_finetuning", "fine-tune CLIP's image tower on mask-noun pairs"),
            Stage(MaskPromptOptions, "mask_prompts", "train mask prompts of a frozen CLIP"),
            Stage(BundleOptions, "bundle", "combine the trained parts to the files of one model"),
        )
    }
)
"""The stages by their names on the command line."""

_ALL_SUMMARY = "run all stages of the preset, and the variants that the results compare"

PLAN: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("clip", "clip", {}),
    ("maskformer", "maskformer", {}),
    ("sam", "sam", {"clip": "clip/weights.pt"}),
    # Sticker World's classes have few names, and labels teach them better than captions do (docs/results.md).
    ("pairs", "pairs", {"sam": "sam/weights.pt"}),
    ("label-pairs", "label-pairs", {"sam": "sam/weights.pt"}),
    ("finetune", "finetune", {"pairs": "label-pairs"}),
    ("mask-prompts", "mask-prompts", {"pairs": "label-pairs"}),
    ("bundle", "bundle", {}),
    # The variants of docs/results.md: mask prompts alone, fine-tuning without masks, pairs from captions.
    ("label-pairs", "label-pairs-perfect", {}),
    (
        "mask-prompts",
        "mask-prompts-only",
        # Mask prompts of a CLIP that was not fine-tuned change its output only at a high learning rate.
        {"pairs": "label-pairs-perfect", "init": "clip/weights.pt", "contrastive": True, "rate": 50.0},
    ),
    ("finetune", "finetune-unmasked", {"pairs": "label-pairs", "unmasked": True}),
    ("finetune", "finetune-captions", {}),
    ("mask-prompts", "mask-prompts-captions", {"init": "finetune-captions/weights.pt"}),
)
"""What ``train all`` runs, in order: stage, subfolder, options; strings are paths relative to ``--out``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stages, each with its own options."""
    stages = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    summaries = {name: stage.summary for name, stage in STAGES.items()} | {AllOptions.stage: _ALL_SUMMARY}
    for name, summary in summaries.items():
        child = stages.add_parser(name, help=summary, description=f"{summary}.", allow_abbrev=False)
        add_options(child, STAGES[name].options if name in STAGES else AllOptions)


def run(arguments: argparse.Namespace) -> int:
    """Run the stage, or all of them one after the other; returns the exit code.

    Raises:
        MissingDependencyError: the packages for training are not installed.
    """
    check_packages()
    if arguments.stage == AllOptions.stage:
        plan = plan_all(read_options(AllOptions, arguments))
    else:
        plan = [read_options(STAGES[arguments.stage].options, arguments)]
    for options in plan:
        module = import_module(f"{_PACKAGE}.{STAGES[options.stage].module}")
        print(f"{options.stage}: {module.train(options)}")
    return SUCCESS


def check_packages() -> None:
    """Raise :class:`MissingDependencyError` unless the packages for training are installed."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise MissingDependencyError(
            f'Training needs packages that are not installed; run "pip install {" ".join(missing)}".'
        )


def plan_all(options: AllOptions) -> list[StageOptions]:
    """Return the options of all stages of :data:`PLAN`.

    Raises:
        ModelError: the preset starts from published weights.
    """
    if find_preset(options.preset).clip is None:
        raise ModelError(
            f"The preset {options.preset} starts from published weights: train its stages one by one."
        )
    common = {entry.name: getattr(options, entry.name) for entry in fields(options) if entry.name != "name"}
    plan = []
    for stage, name, changes in PLAN:
        known = {entry.name for entry in fields(STAGES[stage].options)}
        given = {key: value for key, value in common.items() if key in known and value is not None}
        paths = {key: options.out / value for key, value in changes.items() if isinstance(value, str)}
        own = {**changes, **paths}
        if "rate" in own:  # the stage's own factor comes on top of the given one
            own["rate"] *= given.pop("rate", 1.0)
        plan.append(STAGES[stage].options(**(given | own | {"name": name})))
    return plan
