"""Conversion of CLIP's input between bytes and normalised numbers, and random changes of tone."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD


def normalise(images: Tensor) -> Tensor:
    """Return CLIP's input (B, 3, S, S), float32, from uint8 RGB (B, S, S, 3)."""
    mean, std = _mean_and_std(images.device)
    return ((images - mean) / std).permute(0, 3, 1, 2)


def to_bytes(region: Tensor) -> np.ndarray:
    """Undo :func:`normalise` for one image: uint8 RGB (S, S, 3) from float32 (3, S, S).

    Values are rounded and clipped.
    """
    mean, std = _mean_and_std(region.device)
    return (region.permute(1, 2, 0) * std + mean).round().clamp(0, 255).to(torch.uint8).numpy()


def vary_tone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a copy of a uint8 image with random contrast and brightness."""
    contrast, brightness = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    return cv2.convertScaleAbs(image, alpha=contrast, beta=brightness + 110 * (1 - contrast))


def _mean_and_std(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (255 * torch.tensor(values, device=device) for values in (CLIP_MEAN, CLIP_STD))
    return mean, std
