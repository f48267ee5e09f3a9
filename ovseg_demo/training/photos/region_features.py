"""Features of a classifier averaged under the masks of labelled photographs: what stage 2 learns from.

One forward of the enlarged photograph gives features at stride 32, as the pooled region classifier reads them
(``docs/explanation/engines.md``); each region's feature is their mean, weighted by the share of each cell
that the region covers. The trunk stays as it is, so every photograph passes through it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ovseg_demo.classification.pooled.mask_pooling import AREA, STRIDE, pool
from ovseg_demo.proposals.trunks import fold_batch_norms
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.photos.cutouts import paste_stamps
from ovseg_demo.training.photos.sources import (
    Photograph,
    Region,
    read_camvid,
    read_ccp,
    read_coco,
    read_imagenet_sample,
    read_named_segments,
)
from ovseg_demo.training.photos.stamps import read_stamps
from ovseg_demo.training.photos.trunks import TRUNK_MEAN, TRUNK_STD, load_classifier

LONG_SIDE = AREA.longest_side
"""Longer side in pixels to which a photograph is resized before it is read."""

SMALLEST = 24 * 24
"""Pixels under which a region is not used for training."""


@dataclass(frozen=True)
class RegionFeatures:
    """Features of N regions.

    Attributes:
        features: float16 (N, C).
        names: class name of each; empty where it has none.
        areas: int64 (N,), in pixels of the photograph.
        images: file name of each region's photograph.
    """

    features: np.ndarray
    names: np.ndarray
    areas: np.ndarray
    images: np.ndarray

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file in one step: a killed run would take half a file for a finished one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:  # a path would get ".npz" at its end
            np.savez(file, features=self.features, names=self.names, areas=self.areas, images=self.images)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> RegionFeatures:
        """Read what :meth:`save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in ("features", "names", "areas", "images")})


class FeatureReader:
    """A classifier's convolutional part, arranged for whole photographs.

    Args:
        trunk: timm's name of the classifier.
        path: file with its ImageNet weights.
    """

    def __init__(self, trunk: str, path: Path):
        network = load_classifier(trunk, path).eval()
        fold_batch_norms(network)
        self._runtime = Runtime.resolve("cpu")
        self.network: nn.Module = network.to(memory_format=torch.channels_last).requires_grad_(False)

    @torch.inference_mode()
    def read(self, image: np.ndarray, masks: Sequence[np.ndarray], long_side: int = LONG_SIDE) -> np.ndarray:
        """Return mean features, float32 (N, C), under bool masks (H, W) of an RGB uint8 image (H, W, 3)."""
        scale = long_side / max(image.shape[:2])
        rows, columns = (max(1, round(side * scale / STRIDE)) for side in image.shape[:2])
        size = (columns * STRIDE, rows * STRIDE)
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
        pixels = torch.from_numpy((resized.astype(np.float32) - TRUNK_MEAN[0]) / TRUNK_STD[0])
        with self._runtime.autocast():
            features = self.network.forward_features(pixels.permute(2, 0, 1)[None])[0].float()
        weights = np.stack(
            [
                cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
                for mask in masks
            ]
        )
        return pool(features, torch.from_numpy(weights)).numpy()


def collect(
    reader: FeatureReader, scenes: Iterator[tuple[str, np.ndarray, list[Region]]], long_side: int = LONG_SIDE
) -> RegionFeatures:
    """Return features of all large enough regions of (name of the photograph, image, regions)."""
    features, names, areas, images = [], [], [], []
    for name, image, regions in scenes:
        kept = [region for region in regions if np.count_nonzero(region.mask) >= SMALLEST]
        if not kept:
            continue
        features.append(reader.read(image, [region.mask for region in kept], long_side).astype(np.float16))
        names += [region.name for region in kept]
        areas += [int(np.count_nonzero(region.mask)) for region in kept]
        images += [name] * len(kept)
    return RegionFeatures(np.concatenate(features), np.array(names), np.array(areas), np.array(images))


def named_scenes(photographs: Sequence[Photograph]) -> Iterator[tuple[str, np.ndarray, list[Region]]]:
    """Yield name, image and labelled regions of photographs."""
    for photograph in photographs:
        yield photograph.path.name, photograph.image(), photograph.regions()


def segment_scenes(
    named: Sequence[tuple[Photograph, list[Region]]],
) -> Iterator[tuple[str, np.ndarray, list[Region]]]:
    """Yield name, image and named segments of photographs."""
    for photograph, regions in named:
        yield photograph.path.name, photograph.image(), regions


def imagenet_scenes(photographs: Sequence[Photograph]) -> Iterator[tuple[str, np.ndarray, list[Region]]]:
    """Yield ImageNet's photographs with three regions each: the whole, its middle, and a random ellipse."""
    for number, photograph in enumerate(photographs):
        image = photograph.image()
        height, width = image.shape[:2]
        rng = np.random.default_rng(number)
        whole, middle, ellipse = (np.zeros((height, width), np.uint8) for _ in range(3))
        whole[:] = 1
        middle[height // 5 : -height // 5, width // 5 : -width // 5] = 1
        centre = (int(rng.uniform(0.3, 0.7) * width), int(rng.uniform(0.3, 0.7) * height))
        axes = (int(rng.uniform(0.15, 0.4) * width), int(rng.uniform(0.15, 0.4) * height))
        cv2.ellipse(ellipse, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
        regions = [
            Region(middle.astype(bool), photograph.name),
            Region(whole.astype(bool), photograph.name),
            Region(ellipse.astype(bool), ""),
        ]
        yield photograph.path.name, image, regions


def stamp_scenes(
    stamps: Path, backgrounds: Sequence[Photograph], count: int
) -> Iterator[tuple[str, np.ndarray, list[Region]]]:
    """Yield captioned stamps, four at a time, on photographs."""
    cutouts = read_stamps(stamps)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(cutouts))
    for number in range(count):
        some = [cutouts[order[(4 * number + k) % len(order)]] for k in range(4)]
        background = backgrounds[rng.integers(len(backgrounds))].image()
        image, masks = paste_stamps(background, [cutout.pixels() for cutout in some], rng)
        yield (
            f"stamps-{number}",
            image,
            [Region(mask, cutout.noun) for mask, cutout in zip(masks, some, strict=True) if mask.any()],
        )


def train(root: Path, stamps: Path | None, trunk: str, weights: Path, folder: Path) -> None:
    """Write the features of every source to a file each; those that exist are left alone.

    Args:
        root: folder of labelled photographs; see :mod:`.sources`.
        stamps: folder of tuxpaint's stamps; ``None`` leaves them out.
        trunk: timm's name of the classifier.
        weights: file with its ImageNet weights.
        folder: of the files.
    """
    reader = FeatureReader(trunk, weights)
    imagenet = read_imagenet_sample(root)
    sources: dict[str, tuple[Callable[[], Iterator], int]] = {
        "coco-val": (lambda: named_scenes(read_coco(root, "val")), LONG_SIDE),
        "coco": (lambda: named_scenes(read_coco(root, "train")), LONG_SIDE),
        "camvid": (lambda: named_scenes(read_camvid(root, "train")[::6]), LONG_SIDE),
        "imagenet": (lambda: imagenet_scenes(imagenet), LONG_SIDE // 2),
        "camvid-val": (lambda: named_scenes(read_camvid(root, "val")[::4]), LONG_SIDE),
        "ccp": (lambda: named_scenes(read_ccp(root)[::5]), LONG_SIDE),
    }
    if stamps is not None:
        sources["stamps"] = (lambda: stamp_scenes(stamps, imagenet, 100), LONG_SIDE // 4 * 3)
    segments = read_named_segments(root, "train")
    if segments:
        sources["bsds500"] = (lambda: segment_scenes(segments), LONG_SIDE)
    for name, (scenes, long_side) in sources.items():
        path = folder / f"{name}.npz"
        if not path.exists():
            found = collect(reader, scenes(), long_side)
            found.save(path)
            print(f"{path}: {len(found.names)} regions", flush=True)
