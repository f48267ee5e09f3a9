"""Apply the effects of light and camera to a painted scene; labels stay."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

_NOISE_SIDE = 1024
_Y, _X = np.mgrid[-1:1:7j, -1:1:9j]  # light varies so slowly that a coarse grid describes it


def apply_light(image: np.ndarray, rng: np.random.Generator, night: bool = False) -> np.ndarray:
    """Vary brightness and warmth smoothly over an RGB uint8 image; dim and bluish at night."""
    direction = rng.uniform(0, 2 * np.pi)
    gain = 1 + rng.uniform(0, 0.16) * (_X * np.cos(direction) + _Y * np.sin(direction))
    gain = gain - rng.uniform(0, 0.14) * (_X * _X + _Y * _Y) + rng.normal(0, 0.04)
    warmth = rng.normal(0, 0.035)
    if night:
        gain, warmth = 0.8 * gain, warmth - 0.08
    gain = gain[..., None] * np.array([1 + warmth, 1, 1 - warmth])
    small = np.clip(gain * 128, 0, 255).astype(np.uint8)
    large = cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(image, large, scale=1 / 128)


def apply_lens(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add blur, noise or JPEG artefacts to an RGB uint8 image, each at random."""
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.0))
    if rng.random() < 0.4:
        image = _add_noise(image, rng.uniform(0.02, 0.12), rng)
    if rng.random() < 0.4:
        image = _compress(image, int(rng.integers(45, 96)))
    return image


def _add_noise(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    noise = _noise_field()
    top, left = (int(rng.integers(max(_NOISE_SIDE - side, 0) + 1)) for side in (height, width))
    patch = noise[top : top + height, left : left + width]
    if patch.shape != image.shape:
        patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.addWeighted(image, 1.0, patch, strength, -128 * strength)


@lru_cache(maxsize=1)
def _noise_field() -> np.ndarray:
    """Return read-only grain around 128: uint8 (side, side, 3)."""
    rng = np.random.default_rng(0)
    field = np.clip(rng.normal(128, 48, (_NOISE_SIDE, _NOISE_SIDE, 3)), 0, 255).astype(np.uint8)
    field.flags.writeable = False
    return field


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
