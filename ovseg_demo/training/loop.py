"""The training loop of all stages: from one CPU to many GPUs, seeded, resumable, logged.

How to write a training stage
-----------------------------

1. Subclass :class:`~ovseg_demo.training.task.TrainingTask`, a module that holds the network and whatever else
   a checkpoint must hold. It defines which parameters are trained (``parameter_groups``), what sample number
   ``i`` is (``dataset``), how samples become a batch (``collate``), the loss of a batch (``forward``), the
   validation figures (``evaluate``) and the file with the weights (``save``).
2. Write the stage's options in ``training/options.py``, and ``train(options) -> Path`` in the stage's module:
   it makes the task from the preset, loads ``options.init`` if given, and calls :func:`run_training`.
3. Name the two in :data:`ovseg_demo.training.command.STAGES`.

::

    class SamTask(TrainingTask):
        def __init__(self, size): super().__init__(); self.sam = build(size)
        def parameter_groups(self): return decay_groups(self.sam, lr=8e-4, weight_decay=0.05)
        def dataset(self): return PromptDataset(...)        # ds[i] for any i >= 0, a function of i alone
        def forward(self, batch): ...; return loss, {"focal": focal.detach(), "iou": iou.detach()}
        def evaluate(self): return {"best_of_3_iou": ...}   # main process, evaluation mode, no gradients
        def save(self, path): save_atomically(half(self.sam.state_dict()), path)

    def train(options: SamOptions) -> Path:
        preset = find_settings(options.preset, "sam")
        torch.manual_seed(options.seed)                     # initial weights
        task = SamTask(preset.size)
        loop = options.apply_to(preset.loop)
        return run_training(task, loop, options.folder, options.runtime(), options.choices())

Guarantees
----------

* **Samples.** Step ``s`` uses the samples ``s * B`` to ``(s + 1) * B - 1`` whatever the number of processes
  and workers; ``batch_size`` B counts over all processes. A resumed run uses the samples that an
  uninterrupted one would have used.
* **Randomness.** Before each step torch's generators are seeded from (seed, step, process), so a checkpoint
  holds no generator state. A dataset draws from its own generator, seeded by the sample's index
  (:func:`~ovseg_demo.training.sampling.sample_generator`).
* **Schedule.** It follows ``progress``, the larger of step / steps and elapsed / minutes, so that a time
  budget ends at the schedule's end. The time before an interruption counts; making the dataset does not.
* **Files** in the run's folder: ``checkpoint.pt`` (weights, optimizers, step, elapsed time, and the choices
  that must stay the same; replaced atomically), ``log.jsonl`` (one object a line), ``weights.pt`` (published
  format, written at each evaluation and at the end). A run resumes from ``checkpoint.pt`` if there is one,
  and returns at once if it is complete.
* **Distribution** by Hugging Face ``accelerate``: start the same command with ``accelerate launch``. All
  trainable parameters must take part in every loss.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, send_to_device
from torch.utils.data import DataLoader

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import CHECKPOINT_FILE, WEIGHTS_FILE, save_atomically
from ovseg_demo.training.log import LOG_FILE, TrainingLog
from ovseg_demo.training.optimizers import make_optimizers
from ovseg_demo.training.resuming import Choice, check_choices
from ovseg_demo.training.sampling import StepBatchSampler, mix
from ovseg_demo.training.schedule import LoopSettings, learning_rate_factor
from ovseg_demo.training.task import TrainingTask
from ovseg_demo.training.workers import receive

_FIXED = ("seed", "batch_size", "rate")
"""Settings that a run keeps when it resumes: other ones would mix two runs. A checkpoint holds them."""


def run_training(
    task: TrainingTask,
    settings: LoopSettings,
    folder: Path,
    runtime: Runtime,
    choices: Mapping[str, Choice] = MappingProxyType({}),
) -> Path:
    """Train until the steps or the minutes are spent; resume from the folder's checkpoint if there is one.

    Args:
        task: what is trained.
        settings: of the loop.
        folder: of the checkpoint, the log and the weights.
        runtime: device and precision.
        choices: what made the task, by the names of the options; a run resumes only with the same.

    Returns:
        The file with the trained weights in the published format.

    Raises:
        CheckpointError: the folder holds a checkpoint of a different model, of another seed, batch size or
            rate, or of other choices.
    """
    return _Loop(task, settings, Path(folder), runtime, choices).run()


class _Loop:
    """The state of one run of :func:`run_training`."""

    def __init__(
        self,
        task: TrainingTask,
        settings: LoopSettings,
        folder: Path,
        runtime: Runtime,
        choices: Mapping[str, Choice],
    ):
        self.settings, self.folder, self.runtime = settings, folder, runtime
        self.choices = {**choices, **{name: getattr(settings, name) for name in _FIXED}}
        self.accelerator = Accelerator(cpu=runtime.device.type == "cpu")
        self.task = task.to(self.accelerator.device)
        groups = [{**group, "initial_lr": settings.rate * group["lr"]} for group in task.parameter_groups()]
        self.optimizers = make_optimizers(groups, settings)
        self.step, self.elapsed = 0, 0.0
        self._resume()
        self.model, *self.prepared_optimizers = self.accelerator.prepare(self.task, *self.optimizers)
        self.log = TrainingLog(folder / LOG_FILE, self.step, enabled=self.accelerator.is_main_process)

    def run(self) -> Path:
        """Train to the end of the schedule, evaluate and save on the way, and return the weights file."""
        settings = self.settings
        if self.progress < 1:
            batches = receive(self._batches())  # may prepare the data for long, outside the time budget
            started = time.monotonic() - self.elapsed
            saved = self.elapsed
            for batch in batches:
                self._train_step(send_to_device(batch, self.accelerator.device, non_blocking=True))
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
        """The share of the schedule that is done, by steps or by time; 1 or more at the end."""
        spent = self.elapsed / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return max(self.step / self.settings.steps, spent)

    def _batches(self) -> DataLoader:
        accelerator, workers = self.accelerator, self.settings.workers
        cv2.setNumThreads(1)  # before workers fork: OpenCV hangs in a child of a process with its threads
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
        torch.manual_seed(mix(settings.seed, self.step, self.accelerator.process_index))
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
        """Return the main process's elapsed seconds.

        With clocks of their own, processes would end at different steps.
        """
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
            "settings": self.choices,
        }
        save_atomically(state, self.folder / CHECKPOINT_FILE)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        check_choices(path, state.get("settings", {}), self.choices)
        try:
            self.task.load_state_dict(state["task"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path} belongs to a run with another model; give --out another folder, or remove this one."
            ) from error
        self.step, self.elapsed = state["step"], state["elapsed"]
