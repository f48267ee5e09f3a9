"""When a GPU's memory is too small: smaller batches, then a smaller size, then the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from ovseg_demo.errors import DeviceError
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.runtime.caching import LazyModel

N = TypeVar("N")
R = TypeVar("R")

ON_CPU = "on the CPU"


def compute(
    network: LazyModel[N], work: Callable[[N], R], progress: ProgressCallback = no_progress, part: str = ""
) -> tuple[R, str]:
    """Work with a network; where memory is too small, with fallbacks variants, then with its twin on the CPU.

    Args:
        network: has a method ``fallbacks()`` as that of :class:`ovseg_demo.proposals.ProposalGenerator`.
        work: is called with the network or a variant, again from its start.
        progress: told of waiting for the network.
        part: of the network that the work needs (:meth:`LazyModel.use`).

    Returns:
        The result, and what was fallback: empty where nothing was.

    Raises:
        DeviceError: there is too little memory for the least of them.
    """
    with network.use(progress, part) as full:
        for fallback, variant in _variants(full):
            result = _try(work, variant)
            if result is not None:
                return result[0], fallback
    if network.on_cpu is None:
        raise DeviceError(
            "There is too little memory for this image; scale it down, choose a smaller model, or start "
            'with "--device cpu".'
        )
    with network.on_cpu.use(progress, part) as twin:
        return work(twin), ON_CPU


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory is full: CUDA has a type for that, MPS only words."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def _variants(full: N) -> Iterator[tuple[str, N]]:
    yield "", full
    yield from full.fallbacks()


def _try(work: Callable[[N], R], network: N) -> tuple[R] | None:
    """The result, or ``None`` where memory was too small for it."""
    try:
        return (work(network),)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Only now, as the error's traceback has kept the tensors of its frames.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
