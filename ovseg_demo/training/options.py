"""What the command line (or a test) asks of a training step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.loop import LoopSettings


@dataclass(frozen=True)
class TrainOptions:
    """Options that all steps share; each step uses those that concern it.

    Attributes:
        preset: a key of :data:`ovseg_demo.training.presets.PRESETS`.
        out: folder of all runs; each step has a sub-folder, where later steps look for its weights.
        steps: replaces the preset's number of steps.
        minutes: time budget of the step.
        batch_size: replaces the preset's.
        rate: what the preset's learning rates are multiplied by, for another batch size.
        seed: of everything random.
        workers: replaces the preset's number of loading processes; in ``train label-pairs``, of those that
            propose masks.
        init: weights in the published format to start from.
        clip: weights of the CLIP whose names MaskFormer learns, and which chooses the pairs; ``None`` means
            the one that ``train clip`` left in ``out``. Segment Anything's encoder starts from it, if given;
            for ``train average`` it is the second of two.
        sam: Segment Anything whose masks stand beside MaskFormer's in ``train pairs``; ``None`` means none.
        root: folder of a data set in its official layout; ``None`` means Sticker World.
        pairs: folder of mask-noun pairs; ``None`` means those that ``train pairs`` left in ``out``.
        share: of the weights of ``init`` in the mean that ``train average`` makes, from 0 to 1.
        device: "auto", "cpu", "cuda" or "mps".
        precision: "auto", "float32" or "bfloat16".
        name: of the step's sub-folder, instead of the step's own name; for variants and controls.
        unmasked: fine-tune on unmasked crops: a control.
        contrastive: adapt CLIP with the published loss, over a batch, whatever the preset's is.
        depth: replaces the preset's number of layers with mask prompts; those that ``init`` holds stay.
    """

    preset: str = "sticker-world"
    out: Path = Path("runs")
    steps: int | None = None
    minutes: float | None = None
    batch_size: int | None = None
    rate: float | None = None
    seed: int = 0
    workers: int | None = None
    init: Path | None = None
    clip: Path | None = None
    sam: Path | None = None
    root: Path | None = None
    pairs: Path | None = None
    share: float = 0.5
    device: str = "auto"
    precision: str = "auto"
    name: str | None = None
    unmasked: bool = False
    contrastive: bool = False
    depth: int | None = None

    def apply_to(self, loop: LoopSettings) -> LoopSettings:
        """The preset's loop settings with what was asked for put in their place."""
        asked = {
            "steps": self.steps,
            "minutes": self.minutes,
            "batch_size": self.batch_size,
            "rate": self.rate,
            "workers": self.workers,
            "seed": self.seed,
        }
        return replace(loop, **{name: value for name, value in asked.items() if value is not None})

    def folder(self, step: str) -> Path:
        """Where a step keeps its checkpoint, log and weights."""
        return self.out / (self.name or step)

    def runtime(self) -> Runtime:
        """Device and precision; float16 needs loss scaling, so bfloat16 or float32 stand in for it."""
        runtime = Runtime.resolve(self.device, self.precision)
        return runtime.with_float32() if str(runtime.dtype) == "torch.float16" else runtime
