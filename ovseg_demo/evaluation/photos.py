"""``python -m ovseg_demo.evaluation.photos``: figures of a small model on labelled photographs.

Photographs are those that training never uses (:mod:`ovseg_demo.training.photos.sources`): 40 of COCO, the
validation splits of BSDS500 and CamVid. Proposals are measured with ``--sam`` and ``--maskformer``, names
with ``--clip``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovseg_demo.classification.types import REGIONS, RegionClassifier
from ovseg_demo.cli.exit_codes import SUCCESS, exit_code
from ovseg_demo.errors import DatasetError
from ovseg_demo.proposals.types import ProposalGenerator, Proposals
from ovseg_demo.training.photos.sources import (
    CAMVID_NAMES,
    Photograph,
    Region,
    read_bsds500,
    read_camvid,
    read_coco,
    read_coco_names,
    read_named_segments,
)
from ovseg_demo.vocabulary import OTHERS, ClassName, Vocabulary

_TEMPLATES = "vild"

SMALLEST_OBJECT = 48 * 48
"""Pixels of a COCO object under which its proposals do not count."""

SMALLEST_NAMED = 32 * 32
"""Pixels of a region under which its name does not count."""

STUFF_NAMES = (
    "sky", "cloud", "road", "pavement", "grass", "tree", "water", "sea", "sand", "snow", "mountain", "wall",
    "floor", "rock", "building", "hair", "face",
)  # fmt: skip
"""Everyday names of stuff that none of COCO's instances is."""

TIMED_SIZE = (720, 960)
"""Height and width of the image that is timed."""


@dataclass(frozen=True)
class NamedRegions:
    """Which names a classifier gave to perfect masks.

    Attributes:
        scores: float32 (N, K), of each region for each name.
        truth: int64 (N,), index of the right name.
    """

    scores: np.ndarray
    truth: np.ndarray

    def accuracy(self, allowed: np.ndarray | None = None, of: np.ndarray | None = None) -> float:
        """Return the share of regions, from 0 to 1, whose best name is right; NaN if no region counts.

        Args:
            allowed: bool (K,), the names to choose from; all if ``None``.
            of: bool (K,), whose regions count; all if ``None``.
        """
        scores = self.scores if allowed is None else np.where(allowed, self.scores, -np.inf)
        right = scores.argmax(axis=1) == self.truth
        counted = np.ones(len(right), bool) if of is None else of[self.truth]
        return float(right[counted].mean()) if counted.any() else float("nan")


def best_ious(proposals: Proposals, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the highest IoU (N,) of any proposal with each of N bool masks (H, W) of the image's size."""
    if not len(proposals):
        return np.zeros(len(masks))
    packed = _packed_at(proposals, masks[0].shape)
    areas = np.bitwise_count(packed).sum(axis=(1, 2), dtype=np.int64)
    best = np.empty(len(masks))
    for number, mask in enumerate(masks):
        overlap = np.bitwise_count(packed & np.packbits(mask, axis=-1)).sum(axis=(1, 2))
        overlap = overlap.astype(np.int64)
        best[number] = (overlap / (areas + np.count_nonzero(mask) - overlap)).max()
    return best


def _packed_at(proposals: Proposals, size: tuple[int, ...]) -> np.ndarray:
    """Return the packed masks of proposals, resized to (height, width) if they have another size."""
    if proposals.working_size == size:
        return proposals.packed_masks
    height, width = size
    resized = [
        cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        for mask in proposals.masks
    ]
    return np.stack([np.packbits(mask, axis=-1) for mask in resized])


def measure_coverage(generator: ProposalGenerator, photographs: Sequence[Photograph]) -> dict[str, float]:
    """Return the share of COCO's objects of at least 48² pixels that are covered, and the masks an image.

    Raises:
        DatasetError: there is no such object.
    """
    found, counts = [], []
    for photograph in photographs:
        masks = [
            region.mask for region in photograph.regions() if np.count_nonzero(region.mask) >= SMALLEST_OBJECT
        ]
        if masks:
            proposals = generator(photograph.image())
            found.append(best_ious(proposals, masks))
            counts.append(len(proposals))
    if not found:
        raise DatasetError(
            f"None of COCO's {len(photographs)} photographs shows an object of at least 48² pixels; check "
            "the folder given with --root."
        )
    best = np.concatenate(found)
    return {
        "objects": len(best),
        "covered at IoU 0.5": float((best >= 0.5).mean()),
        "covered at IoU 0.75": float((best >= 0.75).mean()),
        "masks an image": float(np.mean(counts)),
    }


def measure_covering(generator: ProposalGenerator, photographs: Sequence[Photograph]) -> dict[str, float]:
    """Return BSDS500's covering, from 0 to 1, and the masks an image.

    Covering is the best IoU of every segment, weighted by area: the mean of people, then of images.

    Raises:
        DatasetError: a photograph has no segmentation.
    """
    coverings, counts = [], []
    for photograph in photographs:
        proposals = generator(photograph.image())
        counts.append(len(proposals))
        people = []
        for partition in photograph.partitions():
            masks = [partition == label for label in np.unique(partition)]
            areas = np.array([np.count_nonzero(mask) for mask in masks])
            people.append((best_ious(proposals, masks) * areas).sum() / areas.sum())
        if not people:
            raise DatasetError(
                f"{photograph.path} has no segmentation beside it; check the folder given with --root."
            )
        coverings.append(np.mean(people))
    return {"covering": float(np.mean(coverings)), "masks an image": float(np.mean(counts))}


def name_regions(
    clip: RegionClassifier, photographs: Sequence[tuple[Photograph, list[Region]]], names: Sequence[str]
) -> NamedRegions:
    """Return the scores of names on perfect masks of at least 32² pixels.

    Args:
        clip: embeds the regions and the names.
        photographs: each with its named regions.
        names: to choose from.
    """
    texts = clip.embed_names(names, _TEMPLATES)
    scores, truth = [], []
    for photograph, named in photographs:
        regions = [
            region
            for region in named
            if region.name in names and np.count_nonzero(region.mask) >= SMALLEST_NAMED
        ]
        if regions:
            masks = np.stack([region.mask for region in regions])
            proposals = perfect_proposals(photograph.image(), masks)
            scores.append(clip.embed_regions(proposals).vectors @ texts.T)
            truth += [names.index(region.name) for region in regions]
    nothing = np.zeros((0, len(names)), np.float32)
    return NamedRegions(np.concatenate([nothing, *scores]), np.array(truth, np.int64))


def perfect_proposals(image: np.ndarray, masks: np.ndarray) -> Proposals:
    """Return bool masks (N, H, W) of an image as if a generator had proposed them."""
    return Proposals.from_masks(masks, np.ones(len(masks)), image, image.shape[:2], "labels")


def _with_regions(photographs: Sequence[Photograph]) -> list[tuple[Photograph, list[Region]]]:
    return [(photograph, photograph.regions()) for photograph in photographs]


def measure_names(clip: RegionClassifier, root: Path, camvid_step: int = 1) -> dict[str, float]:
    """Return the accuracy, from 0 to 1, of names on perfect masks, and the numbers of regions.

    The names are COCO's 80, the same without "person", a held-out half of them, and CamVid's 11. Stuff is
    measured on the segments of BSDS500 that :func:`.sources.read_named_segments` names: those with one of
    :data:`STUFF_NAMES`, to be named among COCO's 80 names and these.
    """
    coco_names = read_coco_names(root)
    coco = name_regions(clip, _with_regions(read_coco(root, "val")), coco_names)
    camvid = name_regions(clip, _with_regions(read_camvid(root, "val")[::camvid_step]), list(CAMVID_NAMES))
    everything = [*coco_names, *STUFF_NAMES]
    stuff = name_regions(clip, read_named_segments(root, "val"), everything)
    is_stuff = np.array([name in STUFF_NAMES for name in everything])
    things = np.array([name != "person" for name in coco_names])
    unseen = held_out(coco_names)
    return {
        "COCO regions": len(coco.truth),
        "COCO, 80 names": coco.accuracy(),
        'COCO, without "person"': coco.accuracy(things, things),
        "COCO, held-out 40 of 40 names": coco.accuracy(unseen, unseen),
        "COCO, held-out 40 of 80 names": coco.accuracy(None, unseen),
        "CamVid regions": len(camvid.truth),
        "CamVid, 11 names": camvid.accuracy(),
        "stuff regions": int(is_stuff[stuff.truth].sum()),
        "stuff among COCO's names and stuff": stuff.accuracy(None, is_stuff),
    }


def measure_pixels(
    label: Callable[[np.ndarray, Sequence[str]], np.ndarray],
    photographs: Sequence[Photograph],
    names: Sequence[str],
) -> dict[str, float]:
    """Return how many pixels COCO's things have, and what share of them a whole segmentation names right.

    Args:
        label: gives the label map (H, W), indices of names, of an RGB image (H, W, 3) and names.
        photographs: with COCO's instances.
        names: COCO's.
    """
    right = total = 0
    for photograph in photographs:
        regions = sorted(photograph.regions(), key=lambda region: -np.count_nonzero(region.mask))
        if not regions:
            continue
        image = photograph.image()
        truth = np.full(image.shape[:2], -1)
        for region in regions:  # the smaller one lies in front
            truth[region.mask] = names.index(region.name)
        found = label(image, names)
        right += int(np.count_nonzero((found == truth) & (truth >= 0)))
        total += int(np.count_nonzero(truth >= 0))
    return {"pixels": total, "right": right / max(1, total)}


def held_out(names: Sequence[str]) -> np.ndarray:
    """Return which of COCO's names a held-out training does not use: bool (K,), every second one in order."""
    return np.arange(len(names)) % 2 == 1


def measure_seconds(call, repeats: int = 3) -> float:
    """Return the seconds that the fastest of some calls takes with one image of :data:`TIMED_SIZE`."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (TIMED_SIZE[0] // 40, TIMED_SIZE[1] // 40, 3), dtype=np.uint8)
    image = np.kron(small, np.ones((40, 40, 1), np.uint8))
    call(image)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call(image)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is given, and print a line a figure; returns the exit code."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.every < 1:
        parser.error(f"--every is {options.every}; it must be at least 1")
    return exit_code(lambda: _run(options))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ovseg_demo.evaluation.photos", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of labelled photographs")
    parser.add_argument("--sam", type=Path, help="weights of a Segment Anything")
    parser.add_argument("--maskformer", type=Path, help="weights of a MaskFormer")
    parser.add_argument("--clip", type=Path, help="a CLIP: weights, or a folder in open_clip's layout")
    parser.add_argument("--regions", choices=REGIONS, default="auto", help="how the CLIP reads regions")
    parser.add_argument(
        "--model", help="a model of the catalogue, measured end to end with each of its generators"
    )
    parser.add_argument("--points", type=int, default=16, help="points along a side of the grid")
    parser.add_argument("--iou", type=float, default=0.3, help="threshold of the predicted IoU")
    parser.add_argument("--stability", type=float, default=0.0, help="threshold of the stability score")
    parser.add_argument("--nms", type=float, default=0.85, help="threshold of the boxes' overlap")
    parser.add_argument("--min-size", type=int, default=384, help="MaskFormer's shorter side in pixels")
    parser.add_argument("--mask-threshold", type=float, default=0.4, help="MaskFormer's mask threshold")
    parser.add_argument("--every", type=int, default=1, help="use each n-th photograph of BSDS500 and CamVid")
    parser.add_argument("--seconds", action="store_true", help="also time them on 960×720 pixels")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser


def _run(options: argparse.Namespace) -> int:
    figures: dict[str, dict[str, float]] = {}
    if options.sam:
        figures |= _measure_proposals(_read_sam(options), options)
    if options.maskformer:
        figures |= _measure_proposals(_read_maskformer(options), options)
    if options.clip:
        figures["names"] = _measure_clip(options)
    if options.model:
        figures |= _measure_model(options)
    for what, values in figures.items():
        for name, value in values.items():
            print(f"{what}: {name}: {value:.4g}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return SUCCESS


def _read_sam(options: argparse.Namespace) -> ProposalGenerator:
    from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
    from ovseg_demo.proposals.sam.generator import SamProposalGenerator, build_sam

    return SamProposalGenerator(
        build_sam(read_checkpoint(options.sam, CheckpointKind.SAM).sam()),
        points_per_side=options.points,
        pred_iou_thresh=options.iou,
        stability_score_thresh=options.stability,
        box_nms_thresh=options.nms,
    )


def _read_maskformer(options: argparse.Namespace) -> ProposalGenerator:
    from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
    from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer

    return MaskFormerProposalGenerator(
        build_maskformer(read_checkpoint(options.maskformer, CheckpointKind.OVSEG).maskformer()),
        min_size=options.min_size,
        mask_threshold=options.mask_threshold,
    )


def _measure_proposals(
    generator: ProposalGenerator, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    name = generator.name
    figures = {
        f"COCO objects, {name}": measure_coverage(generator, read_coco(options.root, "val")),
        f"BSDS500, {name}": measure_covering(generator, read_bsds500(options.root, "val")[:: options.every]),
    }
    if options.seconds:
        figures[f"960×720 pixels, {name}"] = {"seconds": measure_seconds(generator)}
    return figures


def _measure_clip(options: argparse.Namespace) -> dict[str, float]:
    from ovseg_demo.classification.building import build_classifier
    from ovseg_demo.models.clip_sources import read_clip_source
    from ovseg_demo.runtime.devices import Runtime

    clip = build_classifier(read_clip_source(options.clip), Runtime.resolve(), regions=options.regions)
    figures = measure_names(clip, options.root, options.every)
    if options.seconds:
        whole = np.ones((50, *TIMED_SIZE), bool)
        figures["seconds"] = measure_seconds(
            lambda image: clip.embed_regions(perfect_proposals(image, whole))
        )
    return figures


def _measure_model(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    from ovseg_demo.models.loading import load_segmenter

    segmenter = load_segmenter(options.model)
    names, photographs = read_coco_names(options.root), read_coco(options.root, "val")
    figures = {}
    for generator in segmenter.generators:

        def label(image: np.ndarray, names: Sequence[str], generator: str = generator) -> np.ndarray:
            vocabulary = Vocabulary(tuple(map(ClassName, names)), distractors=(OTHERS,))
            return segmenter.segment(image, vocabulary, generator=generator).label_map

        figures[f"end to end, {generator}"] = measure_pixels(label, photographs, names)
    return figures


if __name__ == "__main__":
    sys.exit(main())
