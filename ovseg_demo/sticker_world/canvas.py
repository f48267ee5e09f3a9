"""An image in the making, with a label map and an instance map that always match it."""

from __future__ import annotations

import cv2
import numpy as np

from ovseg_demo.sticker_world.classes import CLASS_NAMES
from ovseg_demo.sticker_world.textures import cut_texture

CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}
NO_OBJECT = -1
_SUBPIXEL_BITS = 4
_OPAQUE = 127  # alpha from which a pixel belongs to the thing on top


class Canvas:
    """Image, label map and instance map of one size, painted from back to front.

    Attributes:
        image: uint8 RGB (H, W, 3).
        label_map: int16 (H, W), index into ``CLASS_NAMES``.
        instance_map: int32 (H, W), the number given to :meth:`paste`, or -1 on stuff.
        unit: pixels of this canvas per pixel of a 640×480 one.
    """

    def __init__(self, size: tuple[int, int], unit: float | None = None):
        self.width, self.height = size
        self.unit = unit or (self.width * self.height / (640 * 480)) ** 0.5
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.label_map = np.zeros((self.height, self.width), np.int16)
        self.instance_map = np.full((self.height, self.width), NO_OBJECT, np.int32)

    def paint_stuff(
        self,
        stuff_name: str,
        rng: np.random.Generator,
        *,
        outline: np.ndarray | None = None,
        scale: float = 0.6,
        foreshortening: float = 1.0,
    ) -> None:
        """Cover the canvas, or the polygon ``outline`` (n, 2) in xy pixels, with a stuff class."""
        x0, y0, x1, y1 = 0, 0, self.width, self.height
        if outline is not None:
            x0, y0 = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
            x1, y1 = np.minimum(np.ceil(outline.max(axis=0)), (self.width, self.height)).astype(int)
            if x1 <= x0 or y1 <= y0:
                return
        texture = cut_texture(
            stuff_name, (int(x1 - x0), int(y1 - y0)), scale * self.unit, rng, foreshortening
        )
        window = np.s_[y0:y1, x0:x1]
        index = CLASS_INDEX[stuff_name]
        if outline is None:
            self.image[window] = texture
            self.label_map[window] = index
            return
        cover = fill_polygon(outline - (x0, y0), (x1 - x0, y1 - y0))
        _blend(self.image[window], texture, cover)
        self.label_map[window][cover > _OPAQUE] = index

    def paste(self, copy: np.ndarray, left: int, top: int, class_index: int, instance: int) -> None:
        """Lay a sticker (uint8 RGBA, premultiplied) at (left, top); it may leave the canvas."""
        window, part = self._clip(copy, left, top)
        if not part.size:
            return
        alpha = part[..., 3]
        behind = cv2.multiply(self.image[window], cv2.merge([255 - alpha] * 3), scale=1 / 255)
        self.image[window] = cv2.add(behind, np.ascontiguousarray(part[..., :3]))
        opaque = alpha > _OPAQUE
        self.label_map[window][opaque] = class_index
        self.instance_map[window][opaque] = instance

    def darken(self, shadow: np.ndarray, left: int, top: int) -> None:
        """Multiply the image by 1 − shadow; ``shadow`` is uint8 (h, w), 255 for black. Labels stay."""
        window, part = self._clip(shadow, left, top)
        if part.size:
            light = cv2.merge([255 - part] * 3)
            self.image[window] = cv2.multiply(self.image[window], light, scale=1 / 255)

    def _clip(self, patch: np.ndarray, left: int, top: int) -> tuple[tuple[slice, slice], np.ndarray]:
        height, width = patch.shape[:2]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = max(min(left + width, self.width), x0), max(min(top + height, self.height), y0)
        part = patch[y0 - top : y1 - top, x0 - left : x1 - left]
        return np.s_[y0:y1, x0:x1], part


def fill_polygon(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the antialiased cover of a polygon (n, 2) in xy pixels: uint8 (height, width), 255 inside."""
    cover = np.zeros((int(size[1]), int(size[0])), np.uint8)
    points = np.round(outline * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(cover, [points], 255, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return cover


def _blend(behind: np.ndarray, front: np.ndarray, cover: np.ndarray) -> None:
    weight = cv2.merge([cover] * 3)
    behind[:] = cv2.add(
        cv2.multiply(behind, 255 - weight, scale=1 / 255), cv2.multiply(front, weight, scale=1 / 255)
    )
