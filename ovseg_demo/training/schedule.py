"""The settings of a training run that do not depend on its task, and the learning rate's schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LoopSettings:
    """Length, batch, optimizer and schedule of a run.

    Attributes:
        steps: optimizer steps of the full schedule.
        batch_size: samples a step, over all processes together.
        warmup_steps: steps in which the learning rate rises linearly from 0.
        schedule: factor of the learning rate after the warm-up: "cosine" falls along half a cosine to
            ``final_factor``, "poly" is (1 − progress)^``power``, "constant" is 1.
        power: exponent of the "poly" schedule.
        final_factor: last factor of the "cosine" schedule, from 0 to 1.
        betas: AdamW's.
        epsilon: AdamW's.
        clip_norm: largest norm of the model's gradient; a larger one is scaled down. ``None``: no limit.
        rate: factor of all learning rates, to adapt a preset to another batch size.
        minutes: time budget; the schedule ends when it is spent. ``None``: only steps count.
        seed: of the samples, the initial weights and the random numbers of the loss.
        workers: processes that load samples; 0 loads them in the training process.
        log_every: steps between two lines of the log.
        evaluate_every: steps between two evaluations; 0 evaluates at the end only.
        save_minutes: minutes between two checkpoints.
    """

    steps: int
    batch_size: int
    warmup_steps: int = 0
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    power: float = 0.9
    final_factor: float = 0.0
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    clip_norm: float | None = 1.0
    rate: float = 1.0
    minutes: float | None = None
    seed: int = 0
    workers: int = 0
    log_every: int = 20
    evaluate_every: int = 0
    save_minutes: float = 5.0


def learning_rate_factor(settings: LoopSettings, step: int, progress: float) -> float:
    """Return the factor (0 to 1) of the peak learning rates at a step.

    Args:
        settings: of the run.
        step: number of the step, from 0.
        progress: share of the schedule that is done, from 0 to 1.
    """
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    progress = min(1.0, progress)
    if settings.schedule == "cosine":
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return warmup * (settings.final_factor + (1 - settings.final_factor) * cosine)
    if settings.schedule == "poly":
        return warmup * (1 - progress) ** settings.power
    return warmup
