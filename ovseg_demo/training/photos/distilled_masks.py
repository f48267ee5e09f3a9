"""Masks that Segment Anything proposes for photographs, kept in files, as targets of another network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np

from ovseg_demo.proposals.types import ProposalGenerator
from ovseg_demo.training.photos.sources import (
    Photograph,
    read_bsds500,
    read_coco,
    read_imagenet_sample,
)

LONG_SIDE = 512
"""Longer side in pixels of the kept masks."""

SAM_OPTIONS = {
    "points_per_side": 10,
    "pred_iou_thresh": 0.35,
    "stability_score_thresh": 0.5,
    "box_nms_thresh": 0.75,
    "long_side": LONG_SIDE,
}
"""Settings of the generator: fewer and more certain masks than the catalogue's."""


def photographs_to_distill(root: Path) -> list[Photograph]:
    """Return the training photographs of COCO and BSDS500 and ImageNet's sample, the sources in turns."""
    sources = (read_coco(root, "train"), read_bsds500(root, "train"), read_imagenet_sample(root))
    return [photograph for photograph in chain(*zip_longest(*sources)) if photograph is not None]


def keep_masks(
    generator: ProposalGenerator, photographs: Sequence[Photograph], folder: Path
) -> Iterator[Path]:
    """Propose masks for photographs and yield their files; photographs that have one are passed over.

    Args:
        generator: a Segment Anything with :data:`SAM_OPTIONS`.
        photographs: whose masks are kept.
        folder: for one file a photograph; it is made if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in photographs:
        path = mask_file(folder, photograph)
        if not path.exists():
            proposals = generator(photograph.image())
            partial = path.with_suffix(f".{os.getpid()}.npz")  # two processes may work on one folder
            np.savez_compressed(
                partial, masks=proposals.packed_masks, width=np.int64(proposals.working_size[1])
            )
            partial.replace(path)
        yield path


def mask_file(folder: Path, photograph: Photograph) -> Path:
    """Return the path of the kept masks of a photograph."""
    return folder / f"{photograph.source}-{photograph.path.stem}.npz"


def read_masks(folder: Path, photograph: Photograph) -> np.ndarray:
    """Return the kept masks of a photograph, bool (N, h, w); the longer side has :data:`LONG_SIDE` pixels.

    Raises:
        FileNotFoundError: none were kept.
    """
    with np.load(mask_file(folder, photograph)) as kept:
        return np.unpackbits(kept["masks"], axis=-1, count=int(kept["width"])).view(bool)
