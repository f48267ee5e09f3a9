"""What a caller can choose about each training stage: one class for each stage, with only what it reads.

The command line has an option for each field (:mod:`ovseg_demo.training.arguments`); the text beside a
field's type is its help there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from ovseg_demo.errors import ModelError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import WEIGHTS_FILE
from ovseg_demo.training.resuming import Choice, describe_choice
from ovseg_demo.training.schedule import LoopSettings

_AT_LEAST = {"steps": 1, "batch_size": 1, "images": 1, "scenes": 1, "depth": 1, "seed": 0, "workers": 0}
_POSITIVE = ("minutes", "rate")

_FREE = frozenset({"out", "name", "device", "precision", "workers", "steps", "minutes", "images", "scenes"})
"""Options that may change when a stage goes on: where, how fast and how long."""

_IN_THE_LOOP = frozenset({"batch_size", "rate"})
"""Options that the loop compares itself, because the preset has values of its own."""


@dataclass(frozen=True)
class StageOptions:
    """Options of every stage.

    Raises:
        ModelError: a number is out of its range.
    """

    stage: ClassVar[str]

    out: Annotated[Path, "folder of all stages; an interrupted stage resumes (default: runs)"] = Path("runs")
    name: Annotated[str | None, "subfolder of --out, instead of the stage's name; for variants"] = None

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name, None)
            if value is not None and value < least:
                raise ModelError(f"--{name.replace('_', '-')} is {value}; choose {least} or more.")
        for name in _POSITIVE:
            value = getattr(self, name, None)
            if value is not None and not value > 0:
                raise ModelError(f"--{name} is {value:g}; choose a number above 0.")

    @property
    def folder(self) -> Path:
        """The folder with the stage's checkpoint, log and weights."""
        return self.out / (self.name or self.stage)

    def weights_of(self, stage: str) -> Path:
        """Return the path of the weights that another stage writes to ``out``."""
        return self.out / stage / WEIGHTS_FILE

    def choices(self, **used: Path | None) -> dict[str, Choice]:
        """Return the options that decide what the stage makes, which must stay when it goes on, by name.

        Args:
            used: the paths that the stage uses in the place of those that were not given.
        """
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)} | used
        return {
            name: describe_choice(value) for name, value in given.items() if name not in _FREE | _IN_THE_LOOP
        }


@dataclass(frozen=True)
class _NetworkOptions(StageOptions):
    """Options of the stages that run a network."""

    preset: Annotated[str, "sizes and hyper-parameters (default: sticker-world)"] = "sticker-world"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where to compute (default: auto)"] = "auto"
    precision: Annotated[Literal["auto", "float32", "bfloat16"], "of activations (default: auto)"] = "auto"

    def runtime(self) -> Runtime:
        """Return device and precision; float32 replaces float16, whose gradients would need loss scaling."""
        runtime = Runtime.resolve(self.device, self.precision)
        return runtime.with_float32() if str(runtime.dtype) == "torch.float16" else runtime


@dataclass(frozen=True)
class TrainingOptions(_NetworkOptions):
    """Options of the stages that train: see :class:`~ovseg_demo.training.schedule.LoopSettings`."""

    seed: Annotated[int, "seed of everything random (default: 0)"] = 0
    workers: Annotated[int | None, "processes that load samples, instead of the preset's"] = None
    steps: Annotated[int | None, "optimizer steps, instead of the preset's"] = None
    minutes: Annotated[float | None, "time budget; the schedule ends with it"] = None
    batch_size: Annotated[int | None, "samples a step over all processes, instead of the preset's"] = None
    rate: Annotated[float | None, "factor of the learning rates, for another batch size"] = None

    def apply_to(self, loop: LoopSettings) -> LoopSettings:
        """Return the preset's loop settings, with the given options in their place."""
        names = ("seed", "workers", "steps", "minutes", "batch_size", "rate")
        given = {name: getattr(self, name) for name in names}
        return replace(loop, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class ClipOptions(TrainingOptions):
    """Options of "clip"."""

    stage = "clip"

    init: Annotated[Path | None, "CLIP weights to start from"] = None


@dataclass(frozen=True)
class MaskFormerOptions(TrainingOptions):
    """Options of "maskformer"."""

    stage = "maskformer"

    init: Annotated[Path | None, "OVSeg checkpoint to start from"] = None
    clip: Annotated[Path | None, "CLIP of the class names (default: that of --init or `train clip`)"] = None
    root: Annotated[Path | None, "COCO-Stuff in its official layout, instead of Sticker World"] = None


@dataclass(frozen=True)
class SamOptions(TrainingOptions):
    """Options of "sam"."""

    stage = "sam"

    init: Annotated[Path | None, "Segment Anything weights to start from"] = None
    clip: Annotated[Path | None, "CLIP whose image tower is the first image encoder"] = None


@dataclass(frozen=True)
class _ProposalOptions(_NetworkOptions):
    """Options of the stages that propose masks."""

    maskformer: Annotated[Path | None, "checkpoint that proposes masks (default: `train maskformer`)"] = None
    sam: Annotated[Path | None, "Segment Anything weights, to add its masks to MaskFormer's"] = None

    @property
    def proposer(self) -> Path:
        """The MaskFormer's weights: the given ones, or those of "maskformer"."""
        return self.maskformer or self.weights_of("maskformer")


@dataclass(frozen=True)
class PairsOptions(_ProposalOptions):
    """Options of "pairs"."""

    stage = "pairs"

    clip: Annotated[Path | None, "CLIP that matches masks and nouns (default: that of `train clip`)"] = None
    root: Annotated[Path | None, "COCO Captions in its official layout, instead of Sticker World"] = None
    images: Annotated[int | None, "number of images, instead of the preset's"] = None


@dataclass(frozen=True)
class LabelPairsOptions(_ProposalOptions):
    """Options of "label-pairs"; without ``sam`` it uses perfect masks alone."""

    stage = "label-pairs"

    scenes: Annotated[int | None, "number of scenes, instead of the preset's"] = None
    seed: Annotated[int, "seed of the pixels that name the proposals (default: 0)"] = 0
    workers: Annotated[int, "processes that propose masks (default: 0, this one)"] = 0


@dataclass(frozen=True)
class _AdaptationOptions(TrainingOptions):
    """Options of the stages that adapt CLIP to masked regions."""

    pairs: Annotated[Path | None, "folder of mask-noun pairs (default: that of `train pairs`)"] = None
    contrastive: Annotated[bool, "use the published loss over a batch, whatever the preset's is"] = False


@dataclass(frozen=True)
class FinetuneOptions(_AdaptationOptions):
    """Options of "finetune"."""

    stage = "finetune"

    init: Annotated[Path | None, "CLIP to fine-tune (default: that of `train clip`)"] = None
    unmasked: Annotated[bool, "train on unmasked crops: the control experiment"] = False


@dataclass(frozen=True)
class MaskPromptOptions(_AdaptationOptions):
    """Options of "mask-prompts"."""

    stage = "mask-prompts"

    init: Annotated[Path | None, "CLIP to tune prompts for (default: that of `train finetune`)"] = None
    depth: Annotated[int | None, "layers with new mask prompts, instead of the preset's"] = None


@dataclass(frozen=True)
class BundleOptions(StageOptions):
    """Options of "bundle"."""

    stage = "bundle"


@dataclass(frozen=True)
class AllOptions(_NetworkOptions):
    """Options of "all", which passes each one to the stages that have it."""

    stage = "all"

    seed: Annotated[int, "seed of everything random (default: 0)"] = 0
    workers: Annotated[int | None, "processes that load samples or propose masks"] = None
    minutes: Annotated[float | None, "time budget of each training stage"] = None
    batch_size: Annotated[int | None, "samples a step over all processes, instead of the preset's"] = None
    rate: Annotated[float | None, "factor of the learning rates, for another batch size"] = None
