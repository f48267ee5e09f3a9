"""Which samples a training step uses, and their random numbers: functions of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from ovseg_demo.errors import ModelError


class StepBatchSampler(Sampler[list[int]]):
    """The sample indices of each remaining step that one process loads.

    Step ``s`` uses the samples ``s * B`` to ``(s + 1) * B - 1``, whatever the number of processes.

    Args:
        first_step: number of the first step, from 0.
        steps: number of steps of the whole run.
        batch_size: B, over all processes.
        process: index of this process.
        processes: number of processes.

    Raises:
        ModelError: the processes cannot share a batch evenly.
    """

    def __init__(self, first_step: int, steps: int, batch_size: int, process: int, processes: int):
        if batch_size % processes:
            raise ModelError(
                f"--batch-size is {batch_size}, which {processes} processes cannot share evenly; choose a "
                f"multiple of {processes}."
            )
        self.steps = range(first_step, steps)
        self.batch_size, self.share, self.process = batch_size, batch_size // processes, process

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            first = step * self.batch_size + self.process * self.share
            yield list(range(first, first + self.share))


def sample_generator(seed: int, index: int) -> torch.Generator:
    """Return the random generator of sample ``index``: the same in every process, worker and resumed run."""
    return torch.Generator().manual_seed(mix(seed, index))


def mix(*numbers: int) -> int:
    """Return a 63-bit seed from a few integers.

    Neighbouring integers give seeds that differ in half of the bits.
    """
    mixed = 0x9E3779B97F4A7C15
    for number in numbers:
        mixed = (mixed ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 29
    return mixed >> 1
