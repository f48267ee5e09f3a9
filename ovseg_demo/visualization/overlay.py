"""Label maps and class names painted over images: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from ovseg_demo.visualization.fonts import lettering, pillow_font
from ovseg_demo.visualization.palette import WHITE, text_color

DEFAULT_OPACITY = 0.55

_LABEL_SEARCH_SIDE = 320  # label positions are searched in a label map thinned to about this many pixels
_LABELS_PER_SIDE = 45  # a label's letters are this fraction of the longer side high


def overlay_array(
    image: np.ndarray,
    label_map: np.ndarray,
    colors: np.ndarray,
    *,
    opacity: float = DEFAULT_OPACITY,
    outlines: bool = True,
) -> np.ndarray:
    """Return the image with the colours of a label map over it; unlabelled pixels keep their colour.

    Args:
        image: uint8 RGB (H, W, 3).
        label_map: int32 (H, W), class indices below K, or −1 where unlabelled.
        colors: uint8 RGB (K, 3).
        opacity: of the colours, from 0 (the image alone) to 1 (the colours alone).
        outlines: whether each region gets an outline in its full colour, with a white line where two meet.

    Returns:
        uint8 RGB (H, W, 3), a new array.
    """
    is_labelled = (label_map >= 0).view(np.uint8)
    painted = _paint(label_map, colors)
    result = image.copy()
    cv2.copyTo(cv2.addWeighted(painted, opacity, image, 1 - opacity, 0), is_labelled, result)
    if outlines:
        width = line_width(image)
        borders = _borders(label_map)
        cv2.copyTo(painted, is_labelled & _widen(borders, 6 * width + 1), result)
        cv2.copyTo(np.full_like(result, 255), _widen(borders, width), result)
    return result


def draw_labels(
    image: np.ndarray, label_map: np.ndarray, class_names: Sequence[str], colors: np.ndarray
) -> np.ndarray:
    """Return the image with each class's name in its largest region, where larger regions leave room.

    Args:
        image: uint8 RGB (H, W, 3).
        label_map: int32 (H, W), class indices below K, or −1.
        class_names: K names.
        colors: uint8 RGB (K, 3).

    Returns:
        uint8 RGB (H, W, 3), a new array.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    size = max(12, max(canvas.size) // _LABELS_PER_SIDE)
    taken: list[tuple[int, int, int, int]] = []
    for index, point in label_points(label_map).items():
        text = lettering(class_names[index], max_width=12 * size, size=size)
        width = round(pillow_font(text.font, size).getlength(text.text)) + size
        box = _free_box(point, (width, round(1.5 * size)), canvas.size, taken)
        if box is None:
            continue
        taken.append(box)
        color = tuple(int(channel) for channel in colors[index])
        draw.rounded_rectangle(box, radius=size // 3, fill=color, outline=WHITE, width=line_width(image))
        center = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        draw.text(center, text.text, text_color(color), pillow_font(text.font, size), anchor="mm")
    return np.array(canvas)


def label_points(label_map: np.ndarray) -> dict[int, tuple[int, int]]:
    """Return where to write each class name: in its largest region, far from the edge, near the middle.

    Args:
        label_map: int32 (H, W), class indices, or −1.

    Returns:
        class index → (x, y), from the class with the largest region to the one with the smallest. A class
        that has only regions of a few pixels in a large image may be missing.
    """
    step = max(1, max(label_map.shape) // _LABEL_SEARCH_SIDE)
    thinned = np.ascontiguousarray(label_map[::step, ::step])
    found = []
    for index in np.unique(thinned[thinned >= 0]):
        _, regions, stats, _ = cv2.connectedComponentsWithStats(
            (thinned == index).view(np.uint8), connectivity=4
        )
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        left, top, width, height, area = stats[largest]
        x, y = _inner_point(regions[top : top + height, left : left + width] == largest)
        found.append((-int(area), int(index), ((int(left) + x) * step, (int(top) + y) * step)))
    return {index: point for _, index, point in sorted(found)}


def line_width(image: np.ndarray) -> int:
    """Return the width of a fine line on an image (H, W, …): 1 below 1,000 pixels a side, then 2 etc."""
    return 1 + max(image.shape[:2]) // 1000


def _inner_point(region: np.ndarray) -> tuple[int, int]:
    """Return the pixel (x, y) nearest to a region's middle among those (nearly) farthest from its edge."""
    distance = cv2.distanceTransform(np.pad(region, 1).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[
        1:-1, 1:-1
    ]
    y, x = np.nonzero(distance >= 0.9 * distance.max())
    rows, columns = np.nonzero(region)
    nearest = ((y - rows.mean()) ** 2 + (x - columns.mean()) ** 2).argmin()
    return int(x[nearest]), int(y[nearest])


def _paint(label_map: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return the colour of each pixel's class, black where unlabelled: uint8 (H, W, 3)."""
    table = np.zeros((len(colors) + 1, 4), np.uint8)  # 4 bytes a colour: one 32-bit word to look up
    table[:-1, :3] = colors
    words = table.view(np.uint32)[:, 0].take(label_map, mode="wrap")  # −1 wraps to the last row
    return cv2.cvtColor(words.view(np.uint8).reshape(*label_map.shape, 4), cv2.COLOR_RGBA2RGB)


def _borders(label_map: np.ndarray) -> np.ndarray:
    """Return 1 where a pixel's label is not that of its neighbour to the right or below: uint8 (H, W)."""
    borders = np.zeros(label_map.shape, bool)
    borders[:, :-1] = label_map[:, 1:] != label_map[:, :-1]
    borders[:-1] |= label_map[1:] != label_map[:-1]
    return borders.view(np.uint8)


def _widen(lines: np.ndarray, width: int) -> np.ndarray:
    """Return lines of one pixel made ``width`` pixels wide."""
    return cv2.dilate(lines, np.ones((width, width), np.uint8))


def _free_box(
    center: tuple[int, int],
    size: tuple[int, int],
    image_size: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int] | None:
    """Return a box (left, top, right, bottom) at, above or below a point, in the image, clear of others."""
    (width, height), (image_width, image_height) = size, image_size
    left = min(max(0, center[0] - width // 2), max(0, image_width - width - 1))
    for rows in (0, -1, 1, -2, 2):
        top = min(max(0, center[1] - height // 2 + rows * height), max(0, image_height - height - 1))
        box = left, top, left + width, top + height
        if not any(_overlap(box, other) for other in taken):
            return box
    return None


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
