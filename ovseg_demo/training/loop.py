"""The training loop that every step shares: one CPU to many GPUs, seeded, resumable, logged.

How to write a training step
----------------------------

1. Subclass :class:`TrainingTask`, an ``nn.Module`` that holds the network and whatever else must be saved.
   It answers six questions: which parameters learn (``parameter_groups``), what sample number ``i`` is
   (``dataset``), how samples become a batch (``collate``), what the loss of a batch is (``forward``), how
   good the network is (``evaluate``), and how its weights are written in the published format (``save``).
2. Write ``train(options: TrainOptions) -> Path`` in the step's module: build the task from the preset, load
   ``options.init`` if given, and call :func:`run_training`. ``training/command.py`` finds it there.

::

    class SamTask(TrainingTask):
        def __init__(self, size): super().__init__(); self.sam = build(size)
        def parameter_groups(self): return decay_groups(self.sam, lr=8e-4, weight_decay=0.05)
        def dataset(self): return PromptDataset(...)        # ds[i] for any i >= 0, a function of i alone
        def forward(self, batch): ...; return loss, {"focal": focal.detach(), "iou": iou.detach()}
        def evaluate(self): return {"best_of_3_iou": ...}   # main process, eval mode, no gradients
        def save(self, path): save_atomically(half(self.sam.state_dict()), path)

    def train(options):
        preset = find_preset(options.preset).sam
        torch.manual_seed(options.seed)                     # initial weights
        task, loop = SamTask(preset.size), options.apply_to(preset.loop)
        return run_training(task, loop, options.folder("sam"), options.runtime())

What is promised
----------------

* **Samples.** Step ``s`` uses the samples ``s·B … (s+1)·B − 1`` whatever the number of processes and workers;
  ``batch_size`` B counts over all processes. A resumed run sees the very stream it would have seen.
* **Randomness.** Before each step torch's generators are seeded from (seed, step, process), so there is no
  generator state to save; a dataset draws from a generator of its own, seeded by the sample's index
  (:func:`sample_generator`).
* **Schedule.** Driven by ``progress`` = the larger of step / steps and elapsed / minutes, so that a time
  budget ends at the schedule's end and not in its middle. The time of earlier, interrupted parts counts.
* **Files** in the run's folder: ``checkpoint.pt`` (weights, optimiser, step, elapsed; replaced atomically),
  ``log.jsonl`` (one object a line), ``weights.pt`` (published format, at each evaluation and at the end).
  A run that finds ``checkpoint.pt`` goes on from there; one that finds a finished one returns at once.
* **Distribution** by Hugging Face ``accelerate``: start the same command with ``accelerate launch``. All
  trainable parameters must take part in every loss.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.muon import Muon

CHECKPOINT_FILE = "checkpoint.pt"
WEIGHTS_FILE = "weights.pt"
LOG_FILE = "log.jsonl"


@dataclass(frozen=True)
class LoopSettings:
    """Everything about a run that is not the task's business.

    Attributes:
        steps: optimiser steps of the full schedule.
        batch_size: samples a step, over all processes together.
        warmup_steps: steps of linear warm-up.
        schedule: what follows the warm-up: a half cosine to zero, (1 − progress)^power, or no change.
        power: exponent of the "poly" schedule.
        final_factor: the cosine ends at this fraction of the peak learning rate.
        betas: AdamW's.
        epsilon: AdamW's.
        clip_norm: gradients are scaled down to this norm over the full model; ``None`` leaves them.
        rate: learning rates are multiplied by it, for another batch size than the preset's.
        minutes: time budget, with which the schedule ends too; ``None``: only steps count.
        seed: of samples, initial weights and everything random in the loss.
        workers: processes that load samples; 0 loads them in the training process.
        log_every: steps between two lines of the log.
        evaluate_every: steps between two evaluations; 0 evaluates at the end only.
        save_minutes: time between two checkpoints.
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


class TrainingTask(nn.Module, ABC):
    """A network, its data and its loss; see the module's docstring for a template.

    ``state_dict()`` is what a checkpoint holds, so every weight that learns must be in the module; a helper
    that must not be saved (a teacher) is kept out of it by wrapping it in a tuple.
    """

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """AdamW's groups: ``params``, ``lr`` (at the schedule's peak) and ``weight_decay`` each."""

    @abstractmethod
    def dataset(self) -> Dataset:
        """A map-style dataset whose ``[i]`` exists for every i ≥ 0 and depends on i and the seed alone."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Samples to a batch (a tensor, or nested dicts, lists and tuples of them); runs in the workers."""
        return default_collate(list(samples))

    @abstractmethod
    def forward(self, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The scalar loss of this process's part of the batch, and detached scalars for the log.

        Runs under the runtime's autocast, in train mode.
        """

    def before_step(self, progress: float) -> None:
        """Called before each step with the share of the schedule done, for what changes on the way."""

    def after_step(self) -> None:
        """Called after each optimiser step; for constraints such as a clamp."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Validation figures; runs on the main process in eval mode, without gradients, under autocast."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights in the published file format."""


def decay_groups(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    without: Sequence[nn.Parameter] = (),
    muon_lr: float | None = None,
    muon_without: Sequence[nn.Module] = (),
    muon_layers: tuple[type[nn.Module], ...] = (nn.Linear, nn.MultiheadAttention),
) -> list[dict[str, Any]]:
    """Groups of a module's trainable parameters: matrices decay, vectors and scalars do not.

    Args:
        module: whose parameters.
        lr: learning rate at the schedule's peak.
        weight_decay: of the matrices.
        without: parameters that get groups of their own.
        muon_lr: learning rate of inner layers' matrices, which then get a group for Muon and learn from fewer
            samples; ``None`` leaves them to AdamW.
        muon_without: layers that stay with AdamW nevertheless, such as heads.
        muon_layers: what counts as inner layers.
    """
    others = {id(parameter) for parameter in without}
    if muon_lr is not None:
        inner = _matrices(module, muon_layers, {id(layer) for layer in muon_without})
        group = {"params": inner, "lr": muon_lr, "weight_decay": weight_decay, "muon": True}
        return [*decay_groups(module, lr, weight_decay, [*without, *inner]), group]
    trainable = [p for p in module.parameters() if p.requires_grad and id(p) not in others]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _matrices(module: nn.Module, kinds: tuple[type[nn.Module], ...], without: set[int]) -> list[nn.Parameter]:
    """Trainable weights of the layers of these kinds."""
    layers = [layer for layer in module.modules() if isinstance(layer, kinds) and id(layer) not in without]
    weights = [
        getattr(layer, "in_proj_weight" if hasattr(layer, "in_proj_weight") else "weight") for layer in layers
    ]
    return [weight for weight in weights if weight is not None and weight.requires_grad]


def learning_rate_factor(settings: LoopSettings, step: int, progress: float) -> float:
    """What the peak learning rates are multiplied by at a step (from 0), ``progress`` of the way done."""
    warmup = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    progress = min(1.0, progress)
    if settings.schedule == "cosine":
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return warmup * (settings.final_factor + (1 - settings.final_factor) * cosine)
    if settings.schedule == "poly":
        return warmup * (1 - progress) ** settings.power
    return warmup


def sample_generator(seed: int, index: int) -> torch.Generator:
    """The random generator of sample ``index``: the same in every process, worker and resumed run."""
    return torch.Generator().manual_seed(_mix(seed, index))


def run_training(task: TrainingTask, settings: LoopSettings, folder: Path, runtime: Runtime) -> Path:
    """Train until the steps or the minutes are spent, going on from the folder's checkpoint if there is one.

    Returns:
        The file with the trained weights in the published format.

    Raises:
        CheckpointError: the folder holds a checkpoint of a different model.
    """
    return _Loop(task, settings, Path(folder), runtime).run()


class StepBatchSampler(Sampler[list[int]]):
    """The sample indices of each remaining step that fall to one process."""

    def __init__(self, first_step: int, steps: int, batch_size: int, process: int, processes: int):
        if batch_size % processes:
            raise ValueError(f"batch size {batch_size} cannot be split evenly over {processes} processes")
        self.steps = range(first_step, steps)
        self.batch_size, self.share, self.process = batch_size, batch_size // processes, process

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = step * self.batch_size + self.process * self.share
            yield list(range(first, first + self.share))


def _make_optimizers(groups: list[dict[str, Any]], settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """AdamW for most groups, Muon for those that ask for it."""
    orthogonal = [group for group in groups if group.get("muon")]
    others = [group for group in groups if not group.get("muon")]
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(torch.optim.AdamW(others, betas=settings.betas, eps=settings.epsilon, fused=True))
    if orthogonal:
        optimizers.append(Muon(orthogonal))
    return optimizers


class _Loop:
    """One run: what :func:`run_training` keeps track of."""

    def __init__(self, task: TrainingTask, settings: LoopSettings, folder: Path, runtime: Runtime):
        self.settings, self.folder, self.runtime = settings, folder, runtime
        self.accelerator = Accelerator(cpu=runtime.device.type == "cpu")
        self.task = task.to(self.accelerator.device)
        groups = [{**group, "initial_lr": settings.rate * group["lr"]} for group in task.parameter_groups()]
        self.optimizers = _make_optimizers(groups, settings)
        self.step, self.elapsed = 0, 0.0
        self._resume()
        self.model, *self.prepared_optimizers = self.accelerator.prepare(self.task, *self.optimizers)
        self.log = _Log(folder / LOG_FILE, self.step, enabled=self.accelerator.is_main_process)

    def run(self) -> Path:
        settings = self.settings
        started = time.monotonic() - self.elapsed
        saved = self.elapsed
        if self.progress < 1:
            for batch in self._batches():
                self._train_step(_to_device(batch, self.accelerator.device))
                self.elapsed = self._agree(time.monotonic() - started)
                if settings.evaluate_every and self.step % settings.evaluate_every == 0 and self.progress < 1:
                    self._evaluate()
                if self.elapsed - saved >= 60 * settings.save_minutes:
                    self._save_checkpoint()
                    saved = self.elapsed
                if self.progress >= 1:
                    break
            self._evaluate()
            self._save_checkpoint()
        self.accelerator.wait_for_everyone()
        return self.folder / WEIGHTS_FILE

    @property
    def progress(self) -> float:
        spent = self.elapsed / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return max(self.step / self.settings.steps, spent)

    def _batches(self) -> DataLoader:
        accelerator, workers = self.accelerator, self.settings.workers
        cv2.setNumThreads(1)  # here, before workers fork: OpenCV's threads do not survive that, and it hangs
        sampler = StepBatchSampler(
            self.step,
            self.settings.steps,
            self.settings.batch_size,
            accelerator.process_index,
            accelerator.num_processes,
        )
        return DataLoader(
            self.task.dataset(),
            batch_sampler=sampler,
            collate_fn=self.task.collate,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=accelerator.device.type == "cuda",
        )

    def _train_step(self, batch: Any) -> None:
        settings = self.settings
        factor = learning_rate_factor(settings, self.step, self.progress)
        for group in self._groups():
            group["lr"] = group["initial_lr"] * factor
        torch.manual_seed(_mix(settings.seed, self.step, self.accelerator.process_index))
        self.model.train()
        self.task.before_step(self.progress)
        with self.runtime.autocast():
            loss, metrics = self.model(batch)
        self.accelerator.backward(loss)
        if settings.clip_norm is not None:
            metrics["gradient_norm"] = self.accelerator.clip_grad_norm_(
                self.model.parameters(), settings.clip_norm
            )
        for optimizer in self.prepared_optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.task.after_step()
        self.step += 1
        self.log.add({"loss": loss.detach(), **metrics})
        if self.step % settings.log_every == 0:
            self.log.write_means(
                self.step,
                settings.batch_size,
                learning_rate=next(self._groups())["lr"],
                progress=round(self.progress, 5),
                minutes=round(self.elapsed / 60, 2),
            )

    def _groups(self) -> Iterator[dict[str, Any]]:
        return (group for optimizer in self.optimizers for group in optimizer.param_groups)

    def _agree(self, elapsed: float) -> float:
        """All processes go by the main process's clock, or they would end at different steps."""
        if self.accelerator.num_processes == 1:
            return elapsed
        return float(broadcast(torch.tensor(elapsed, dtype=torch.float64, device=self.accelerator.device)))

    @torch.no_grad()
    def _evaluate(self) -> None:
        if self.accelerator.is_main_process:
            self.task.eval()
            with self.runtime.autocast():
                figures = self.task.evaluate()
            self.log.write({"step": self.step, "minutes": round(self.elapsed / 60, 2), "evaluation": figures})
            self.task.save(self.folder / WEIGHTS_FILE)
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = {
            "task": self.task.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "elapsed": self.elapsed,
        }
        save_atomically(state, self.folder / CHECKPOINT_FILE)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        try:
            self.task.load_state_dict(state["task"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} belongs to a run with another model; give --out another folder, or remove this one."
            ) from error
        self.step, self.elapsed = state["step"], state["elapsed"]


class _Log:
    """JSON lines and the means between two of them; a resumed run drops the lines after its checkpoint."""

    def __init__(self, path: Path, step: int, enabled: bool):
        self.path, self.enabled = path, enabled
        self.sums: dict[str, torch.Tensor] = {}
        self.count, self.since = 0, time.monotonic()
        if enabled:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            path.write_text("".join(f"{line}\n" for line in kept))

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def write_means(self, step: int, batch_size: int, **more: float) -> None:
        means = {name: round(float(total) / self.count, 5) for name, total in self.sums.items()}
        speed = self.count * batch_size / (time.monotonic() - self.since)
        self.write({"step": step, **means, **more, "samples_per_second": round(speed, 1)})
        self.sums, self.count, self.since = {}, 0, time.monotonic()

    def write(self, entry: dict[str, Any]) -> None:
        if not self.enabled:
            return
        line = json.dumps(entry)
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def save_atomically(value: Any, path: Path) -> None:
    """``torch.save`` that leaves either the old file or the whole new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    torch.save(value, part)
    part.replace(path)


def _to_device(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to_device(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_device(item, device) for item in value)
    return value


def _mix(*numbers: int) -> int:
    """Mix a few integers to one 63-bit seed (multiply and xor-shift: neighbours differ in every bit)."""
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = (mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1
