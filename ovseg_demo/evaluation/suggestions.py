"""``python -m ovseg_demo.evaluation.suggestions``: how many of the true names of a scene are suggested.

Photographs are the 40 of COCO that training never uses (:mod:`ovseg_demo.training.photos.sources`), or those
that it uses, for choosing settings. A scene's true names are the classes of its labelled objects; what COCO
does not label, such as sky, counts neither way. The scenes of Sticker World are drawn from seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ovseg_demo.evaluation.sticker_world import StickerScenes
from ovseg_demo.segmenter import Segmenter
from ovseg_demo.training.photos.sources import Photograph, read_coco

COUNT = 10
"""So many names are asked for."""

LARGE = 0.01
"""Share of an image from which the true name of what covers it also counts as large."""

SAME: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "airplane": frozenset({"plane", "aeroplane", "jet", "fighter jet"}),
        "bus": frozenset({"double-decker bus", "school bus"}),
        "cake": frozenset({"birthday cake"}),
        "cell phone": frozenset({"mobile phone", "telephone"}),
        "couch": frozenset({"sofa"}),
        "cup": frozenset({"mug"}),
        "dining table": frozenset({"table", "coffee table", "desk"}),
        "dog": frozenset({"puppy"}),
        "cat": frozenset({"kitten"}),
        "donut": frozenset({"doughnut"}),
        "hair drier": frozenset({"hair dryer"}),
        "motorcycle": frozenset({"motorbike", "minibike", "moped"}),
        "mouse": frozenset({"computer mouse"}),
        "person": frozenset({"man", "woman", "boy", "girl", "child", "baby", "crowd"}),
        "potted plant": frozenset({"plant", "houseplant"}),
        "remote": frozenset({"remote control"}),
        "sports ball": frozenset({"ball", "football", "baseball", "basketball", "tennis ball"}),
        "truck": frozenset({"pickup truck", "fire truck", "garbage truck", "dump truck"}),
        "tv": frozenset({"television", "monitor", "screen"}),
    }
)
"""Names that mean the same as a class of COCO, or a kind of it."""


@dataclass(frozen=True)
class NamedScene:
    """An image and its true names.

    Attributes:
        image: uint8 RGB (H, W, 3).
        shares: for each true name the share of the image that it covers.
    """

    image: np.ndarray
    shares: Mapping[str, float]


def coco_scenes(photographs: Iterable[Photograph]) -> Iterator[NamedScene]:
    """Yield photographs that have labelled objects."""
    for photograph in photographs:
        masks: dict[str, np.ndarray] = {}
        for region in photograph.regions():
            masks[region.name] = masks.get(region.name, False) | region.mask
        if masks:
            yield NamedScene(photograph.image(), {name: float(mask.mean()) for name, mask in masks.items()})


def sticker_scenes(scenes: StickerScenes) -> Iterator[NamedScene]:
    """Yield scenes of Sticker World, whose true names include its stuff."""
    names = scenes.vocabulary.class_names
    for key in scenes.keys:
        labelled = scenes.load(key)
        shares = {
            names[index]: float((labelled.labels == index).mean())
            for index in np.unique(labelled.labels)
            if index >= 0
        }
        yield NamedScene(labelled.image, shares)


def is_suggested(name: str, suggested: Collection[str], same: Mapping[str, frozenset[str]]) -> bool:
    """Return whether a true name, or one that means the same, is among the suggested ones."""
    return name in suggested or not same.get(name, frozenset()).isdisjoint(suggested)


def measure_suggestions(
    segmenter: Segmenter, scenes: Iterable[NamedScene], count: int = COUNT, generator: str | None = None
) -> dict[str, float]:
    """Return the shares of the true names that are among the first suggestions, and the time of a suggestion.

    Args:
        segmenter: suggests.
        scenes: with their true names.
        count: how many names are asked for.
        generator: of the masks; ``None`` means the segmenter's first.
    """
    exact, meant, large, seconds = [], [], [], []
    for scene in scenes:
        analysis = segmenter.analyze(scene.image, generator=generator)
        analysis.suggest(count)  # encodes the candidates
        start = time.perf_counter()
        suggested = {suggestion.name for suggestion in analysis.suggest(count)}
        seconds.append(time.perf_counter() - start)
        for name, share in scene.shares.items():
            is_meant = is_suggested(name, suggested, SAME)
            exact.append(name in suggested)
            meant.append(is_meant)
            if share >= LARGE:
                large.append(is_meant)
    return {
        "scenes": len(seconds),
        "true names": len(exact),
        f"among the first {count}": float(np.mean(exact)),
        f"among the first {count}, or a name that means the same": float(np.mean(meant)),
        f"the same, of names that cover {LARGE:.0%} of their image": float(np.mean(large)),
        "seconds of a suggestion, median": float(np.median(seconds)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a model of the catalogue and print a line a figure."""
    parser = argparse.ArgumentParser(prog="ovseg_demo.evaluation.suggestions", description=__doc__)
    parser.add_argument("--model", default="photo-mini", help="a model of the catalogue")
    parser.add_argument("--generator", help="the proposal generator; by default the model's first")
    parser.add_argument("--root", type=Path, help="folder of labelled photographs; without it, Sticker World")
    parser.add_argument("--split", choices=("val", "train"), default="val", help="which photographs")
    parser.add_argument("--scenes", type=int, default=40, help="how many scenes of Sticker World")
    parser.add_argument("--seed", type=int, help="of the first scene; by default those of the benchmark")
    parser.add_argument("--count", type=int, default=COUNT, help="how many names are asked for")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    from ovseg_demo.models.loading import load_segmenter

    if options.root is not None:
        scenes = coco_scenes(read_coco(options.root, options.split))
    elif options.seed is not None:
        scenes = sticker_scenes(StickerScenes.from_seed(options.seed, options.scenes))
    else:
        scenes = sticker_scenes(StickerScenes(StickerScenes().seeds[: options.scenes]))
    figures = measure_suggestions(load_segmenter(options.model), scenes, options.count, options.generator)
    for name, value in figures.items():
        print(f"{name}: {value:.4g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
