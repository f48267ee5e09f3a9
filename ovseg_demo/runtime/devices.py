"""The one place that chooses a device and a precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch

from ovseg_demo.errors import DeviceError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """Where the networks run and in which precision.

    Attributes:
        device: holds weights and activations.
        dtype: of the weights and activations of the heavy towers: float32, bfloat16 or float16.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32

    @classmethod
    def resolve(cls, device: str = "auto", precision: str = "auto") -> Runtime:
        """Return the runtime that a user asked for.

        ``device="auto"`` takes CUDA, then MPS, then the CPU. ``precision="auto"`` takes bfloat16 where the
        hardware multiplies it faster than float32, float16 on older CUDA cards and on MPS, and float32
        elsewhere.

        Raises:
            DeviceError: an unknown name, an absent device, or float16 on a CPU (where it is a thousand times
                slower).
        """
        found = torch.device(_find_device(device))
        return cls(found, _find_dtype(found.type, precision))

    def with_float32(self) -> Runtime:
        """Return the same device with float32, for networks that are not faster in a lower precision."""
        return Runtime(self.device, torch.float32)

    def autocast(self) -> AbstractContextManager:
        """Return a context in which float32 networks compute matrix products in :attr:`dtype`."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def upload(array: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Return an array as a tensor on a device; the copy to CUDA is asynchronous, from pinned memory."""
    tensor = torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def _find_device(name: str) -> str:
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = name.split(":")[0]
    if name == "auto":
        return next(kind for kind, there in present.items() if there)
    if kind not in present:
        raise DeviceError(f'There is no device "{name}"; choose one of {", ".join(DEVICES)}.')
    if not present[kind]:
        raise DeviceError(f'This machine has no device "{name}"; use "auto" or "cpu".')
    return name


def _find_dtype(device_type: str, precision: str) -> torch.dtype:
    if precision == "auto":
        return _fastest_dtype(device_type)
    if precision not in PRECISIONS:
        raise DeviceError(f'There is no precision "{precision}"; choose auto, {", ".join(PRECISIONS)}.')
    if device_type == "cpu" and precision == "float16":
        raise DeviceError(
            "float16 on a CPU is a thousand times slower than float32; use bfloat16 or float32 there."
        )
    return PRECISIONS[precision]


def _fastest_dtype(device_type: str) -> torch.dtype:
    if multiplies_bfloat16(device_type):
        return torch.bfloat16
    return torch.float32 if device_type == "cpu" else torch.float16


def multiplies_bfloat16(device_type: str) -> bool:
    """Return whether the hardware multiplies bfloat16 natively, which is faster than float32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
