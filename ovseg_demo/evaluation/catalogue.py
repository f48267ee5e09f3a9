"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.ade20k import open_ade20k_150, open_ade20k_847
from ovseg_demo.evaluation.datasets import Dataset
from ovseg_demo.evaluation.pascal import open_context_59, open_context_459, open_voc_20
from ovseg_demo.evaluation.sticker_world import StickerScenes

STICKER_WORLD = StickerScenes.name

_IN_FOLDERS: Mapping[str, Callable[[Path], Dataset]] = MappingProxyType(
    {
        "ade20k-150": open_ade20k_150,
        "ade20k-847": open_ade20k_847,
        "pascal-context-59": open_context_59,
        "pascal-context-459": open_context_459,
        "pascal-voc-20": open_voc_20,
    }
)

DATASETS = (STICKER_WORLD, *_IN_FOLDERS)
"""All names."""


def open_dataset(
    name: str, root: Path | None = None, *, scenes: int | None = None, seed: int | None = None
) -> Dataset:
    """Return the data set of a benchmark.

    Args:
        name: one of :data:`DATASETS`.
        root: folder of the data set in its official layout; Sticker World needs none.
        scenes: number of Sticker World's scenes, from ``seed`` on; by default the fixed 200 of the benchmark.
        seed: of the first of those scenes, 0 by default.

    Raises:
        DatasetError: there is no such data set, its files are missing, or an option does not belong to it.
    """
    if name not in DATASETS:
        raise DatasetError(f'There is no data set "{name}"; choose one of {", ".join(DATASETS)}.')
    if name == STICKER_WORLD:
        if root is not None:
            raise DatasetError("Sticker World is drawn from seeds and has no folder: leave out --root.")
        return _draw(scenes, seed)
    if scenes is not None or seed is not None:
        raise DatasetError(f"--scenes and --seed choose scenes of {STICKER_WORLD}; {name} has fixed images.")
    if root is None:
        raise DatasetError(f"{name} is read from its official files; name their folder with --root.")
    return _IN_FOLDERS[name](root.expanduser())


def _draw(scenes: int | None, seed: int | None) -> StickerScenes:
    if scenes is None and seed is None:
        return StickerScenes()
    scenes, seed = 200 if scenes is None else scenes, seed or 0
    if scenes < 1 or seed < 0:
        raise DatasetError(f"{scenes} scenes from seed {seed}: choose at least 1 scene and a seed from 0 on.")
    return StickerScenes.from_seed(seed, scenes)
