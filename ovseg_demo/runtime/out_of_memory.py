"""What happens when memory is short: smaller batches, then a smaller size, then the CPU."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import TypeVar

import cv2
import torch

from ovseg_demo.errors import DeviceError
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.runtime.caching import LazyModel

N = TypeVar("N")
R = TypeVar("R")

ON_CPU = "on the CPU"

_MESSAGES = (
    "out of memory",  # CUDA, MPS
    "can't allocate memory",  # torch's CPU allocator on Linux and macOS
    "not enough memory",  # torch's CPU allocator on Windows
    "cannot allocate memory",  # the system, when a file is mapped
    "insufficient memory",  # OpenCV
    "bad_alloc",
    "alloc_failed",  # cuBLAS, cuDNN
)


def compute(
    model: LazyModel[N], work: Callable[[N], R], progress: ProgressCallback = no_progress, part: str = ""
) -> tuple[R, str]:
    """Return the result of work with a model, and what was reduced for lack of memory.

    Where memory is too small, the work starts again with each of the model's fallbacks in turn, and then
    with the same model on the CPU.

    Args:
        model: has a method ``fallbacks()`` like
            :meth:`ovseg_demo.proposals.types.ProposalGenerator.fallbacks`.
        work: called with the model or a fallback.
        progress: called while another thread uses the model.
        part: of the model that the work needs (:meth:`LazyModel.use`).

    Returns:
        The result and the name of the fallback, which is empty where none was needed.

    Raises:
        DeviceError: memory is too small for the last fallback, too.
    """
    for candidate, prefix in ((model, ""), (model.on_cpu, ON_CPU)):
        if candidate is None:
            continue
        with candidate.use(progress, part) as full:
            for fallback, variant in _variants(full):
                result = _try(work, variant)
                if result is not None:
                    return result[0], ", ".join(filter(None, (prefix, fallback)))
    raise DeviceError(
        "There is too little memory for this image; scale it down, choose a smaller model, or start "
        'with "--device cpu".'
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is full.

    CUDA and NumPy have a type for it, the system an error number. MPS, torch's CPU allocator, OpenCV and the
    libraries of CUDA have only a message.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if not isinstance(error, RuntimeError | cv2.error):
        return False
    message = str(error).lower()
    return any(text in message for text in _MESSAGES)


def _variants(full: N) -> Iterator[tuple[str, N]]:
    yield "", full
    yield from full.fallbacks()


def _try(work: Callable[[N], R], variant: N) -> tuple[R] | None:
    """Return the result, or ``None`` if memory was too small."""
    try:
        return (work(variant),)
    except (RuntimeError, MemoryError, OSError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
    # Not earlier: the error's traceback holds the tensors of its frames.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
