"""The overlay image: a label map over its image, with its legend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from ovseg_demo.visualization.legend import LegendEntry, draw_legend
from ovseg_demo.visualization.overlay import DEFAULT_OPACITY, draw_labels, overlay_array

PRINT_SIDE = 1600
"""Least length of the longer side in pixels; smaller images are enlarged by a whole number."""


def render_overlay(
    image: np.ndarray,
    label_map: np.ndarray,
    entries: Sequence[LegendEntry],
    *,
    opacity: float = DEFAULT_OPACITY,
    outlines: bool = True,
    labels: bool = False,
) -> Image.Image:
    """Return the label map over its image with its legend, large enough for print.

    Args:
        image: uint8 RGB (H, W, 3).
        label_map: int32 (H, W), indices of classes, or −1.
        entries: one for each class, in the order of the legend.
        opacity: of the colours, from 0 to 1.
        outlines: whether the regions are outlined.
        labels: whether the class names are written into the map as well.

    Returns:
        An RGB image. The map is at the top left, as large as the image or a whole multiple of it. The legend
        is to its right or, where that would be too wide, below.
    """
    by_index = sorted(entries, key=lambda entry: entry.index)
    colors = np.array([entry.color for entry in by_index], np.uint8).reshape(-1, 3)
    factor = math.ceil(PRINT_SIDE / max(label_map.shape))
    label_map = _enlarge(label_map, factor, cv2.INTER_NEAREST)
    painted = overlay_array(
        _enlarge(image, factor, cv2.INTER_CUBIC), label_map, colors, opacity=opacity, outlines=outlines
    )
    if labels:
        painted = draw_labels(painted, label_map, [entry.name for entry in by_index], colors)
    return Image.fromarray(_join(painted, *draw_legend(entries, painted.shape[1], painted.shape[0])))


def _enlarge(array: np.ndarray, factor: int, interpolation: int) -> np.ndarray:
    return cv2.resize(array, None, fx=factor, fy=factor, interpolation=interpolation)


def _join(painted: np.ndarray, legend: np.ndarray, is_beside: bool) -> np.ndarray:
    if is_beside:
        return np.concatenate([painted, legend], axis=1)
    padding = ((0, 0), (0, legend.shape[1] - painted.shape[1]), (0, 0))
    return np.concatenate([np.pad(painted, padding, constant_values=255), legend], axis=0)
