"""The stage "pairs": mask-noun pairs from captions, without labels (OVSeg, arXiv 2210.04150, section 3.2).

Each noun of an image's caption is matched with the MaskFormer proposal whose crop has the highest similarity
in the pre-trained CLIP. The paper keeps every match. For a small CLIP, which errs more often, there are three
rules: masks with a higher score of the generator are preferred; the similarity must exceed that of the noun
with the crops of other images by a number of standard deviations; and no other noun of the caption may exceed
it more with the same mask.

The classifier's masks fit worse than the matched ones. With ``least_overlap``, all proposals that overlap a
matched one by that IoU are pairs of its noun, too. With ``--sam``, Segment Anything's masks are added to
MaskFormer's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from torch.utils.data import DataLoader, Dataset

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.proposals.sam.generator import SamProposalGenerator, build_sam
from ovseg_demo.proposals.types import ProposalGenerator, Proposals
from ovseg_demo.training.caption_nouns import find_nouns
from ovseg_demo.training.captioned_images import CaptionedImage, open_captioned_images
from ovseg_demo.training.log import LOG_FILE, append_entry, keep_entries
from ovseg_demo.training.options import LabelPairsOptions, PairsOptions
from ovseg_demo.training.pairs_format import (
    PAIRS_FILE,
    PROGRESS_FILE,
    ImageSource,
    MaskNounPair,
    append_pairs,
    write_source,
)
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.resuming import Choice, check_choices
from ovseg_demo.training.workers import receive

_IMAGES_PER_SAVE = 25
_TEMPLATES = "vild"

ImageT = TypeVar("ImageT")


def train(options: PairsOptions) -> Path:
    """Write the pairs of the images to a folder; returns the folder. An interrupted run resumes."""
    preset = find_settings(options.preset, "pairs")
    generator = make_generator(options)
    matcher = options.clip or options.weights_of("clip")
    images = open_captioned_images(options.root, preset.captions_per_image)
    clip = MaskAdaptedClip.from_tensors(read_checkpoint(matcher).clip(), runtime=options.runtime())
    background = embed_background(generator, clip, images.read(0, preset.background_images))
    miner = PairMiner(
        generator, clip, background, preset.quality_weight, preset.least_score, preset.least_overlap
    )
    choices = options.choices(maskformer=options.proposer, clip=matcher)
    collect_pairs(miner, images, options.images or preset.images, options.folder, choices=choices)
    return options.folder


def make_generator(options: PairsOptions | LabelPairsOptions) -> ProposalGenerator | EveryGenerator:
    """Return MaskFormer's generator, with Segment Anything's beside it if ``options.sam`` is given."""
    sizes = find_settings(options.preset, "maskformer")
    maskformer = MaskFormerProposalGenerator(
        build_maskformer(read_checkpoint(options.proposer).maskformer()),
        min_size=sizes.min_size,
        max_size=sizes.max_size,
        mask_threshold=sizes.mask_threshold,
        runtime=options.runtime(),
    )
    if not options.sam:
        return maskformer
    thresholds = find_settings(options.preset, "pairs").sam_thresholds
    sam = build_sam(read_checkpoint(options.sam, CheckpointKind.SAM).sam())
    return EveryGenerator((maskformer, SamProposalGenerator(sam, **thresholds, runtime=options.runtime())))


@dataclass(frozen=True)
class EveryGenerator:
    """The proposals of several generators as one set, at the image's own size.

    Attributes:
        generators: in the order of their proposals.
    """

    generators: Sequence[ProposalGenerator]

    def __call__(self, image: np.ndarray) -> Proposals:
        """Propose masks for an RGB uint8 image (H, W, 3)."""
        found = [generator(image) for generator in self.generators]
        masks = [mask_at_image_size(proposals, i) for proposals in found for i in range(len(proposals))]
        scores = np.concatenate([proposals.scores for proposals in found])
        there = [i for i, mask in enumerate(masks) if mask.any()]  # resizing can empty a thin mask
        stacked = np.array([masks[i] for i in there], dtype=bool).reshape(-1, *image.shape[:2])
        return Proposals.from_masks(stacked, scores[there], image, image.shape[:2], "every")


def embed_background(
    generator: ProposalGenerator | EveryGenerator, clip: MaskAdaptedClip, images: Iterable[CaptionedImage]
) -> np.ndarray:
    """Return CLIP's embeddings of all proposals of some images: float32 (R, D).

    Every noun is compared with them.
    """
    proposals = (generator(captioned.image) for captioned in images)
    return np.concatenate([clip.embed_regions(found, mask_prompts=False).vectors for found in proposals])


@dataclass(frozen=True, eq=False)
class PairMiner:
    """Finds the pairs of one image at a time.

    Attributes:
        generator: of proposals.
        clip: embeds masked crops, without mask prompts, and nouns.
        background: float32 (R, D), from :func:`embed_background`.
        quality_weight: weight of a proposal's score (0 to 1), added to the cosine of noun and crop.
        least_score: standard deviations above the background that a match must have; ``None``: no limit.
        least_overlap: IoU with a matched mask from which another proposal is a pair of the same noun;
            ``None``: the matched masks alone.
    """

    generator: ProposalGenerator | EveryGenerator
    clip: MaskAdaptedClip
    background: np.ndarray
    quality_weight: float = 0.0
    least_score: float | None = None
    least_overlap: float | None = None

    def mine(self, captioned: CaptionedImage) -> list[MaskNounPair]:
        """Return the pairs of an image.

        They are at most one match for each noun of its captions, and the masks that overlap a match.
        """
        nouns = tuple(dict.fromkeys(noun for caption in captioned.captions for noun in find_nouns(caption)))
        proposals = self.generator(captioned.image) if nouns else ()
        if not len(proposals):
            return []
        names = self.clip.embed_names(nouns, _TEMPLATES)
        similarity = names @ self.clip.embed_regions(proposals, mask_prompts=False).vectors.T  # (nouns, N)
        chosen = (similarity + self.quality_weight * proposals.scores).argmax(axis=1)
        elsewhere = names @ self.background.T
        # A background of one region has a spread of 0.
        spread = np.maximum(elsewhere.std(axis=1, keepdims=True), np.finfo(np.float32).eps)
        scores = (similarity - elsewhere.mean(axis=1, keepdims=True)) / spread
        matches = [
            (int(mask), noun, of_noun[mask])
            for noun, mask, of_noun in zip(nouns, chosen, scores, strict=True)
            if self._trusts(of_noun[mask], scores[:, mask])
        ]
        return [
            MaskNounPair.from_mask(captioned.name, noun, score, mask_at_image_size(proposals, mask))
            for mask, noun, score in matches + self._outlines(proposals, matches)
        ]

    def _outlines(
        self, proposals: Proposals, matches: list[tuple[int, str, float]]
    ) -> list[tuple[int, str, float]]:
        """Return further matches (mask, noun, score): the masks that overlap a matched one."""
        if self.least_overlap is None or not matches:
            return []
        matched = [mask for mask, *_ in matches]
        overlaps = mask_iou(proposals)[:, matched]
        overlaps[matched] = 0
        nearest = overlaps.argmax(axis=1)
        others = np.flatnonzero(overlaps.max(axis=1) >= self.least_overlap)
        return [(int(mask), *matches[nearest[mask]][1:]) for mask in others]

    def _trusts(self, score: float, rivals: np.ndarray) -> bool:
        return self.least_score is None or score >= max(self.least_score, rivals.max())


def mask_iou(proposals: Proposals) -> np.ndarray:
    """Return the IoU of all pairs of proposals: float64 (N, N) in [0, 1]."""
    encoded = coco_mask.encode(np.asfortranarray(proposals.masks.transpose(1, 2, 0), dtype=np.uint8))
    return coco_mask.iou(encoded, encoded, [False] * len(encoded))


def mask_at_image_size(proposals: Proposals, index: int) -> np.ndarray:
    """Return a proposal's mask, bool (H, W), at the size of the image itself."""
    height, width = proposals.image_size
    mask = proposals.unpack(index).astype(np.float32)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


class Images(Protocol[ImageT]):
    """Numbered images from which pairs are made.

    Attributes:
        source: their description in the pairs' folder.
    """

    source: ImageSource

    def read(self, first: int, stop: int) -> Iterator[ImageT]:
        """Yield the images number ``first`` to ``stop`` (exclusive), or to the last one."""


class Miner(Protocol[ImageT]):
    """Makes the pairs of an image."""

    def mine(self, image: ImageT, /) -> list[MaskNounPair]:
        """Return the pairs of one image."""


def collect_pairs(
    miner: Miner[ImageT],
    images: Images[ImageT],
    count: int,
    folder: Path,
    workers: int = 0,
    choices: Mapping[str, Choice] = MappingProxyType({}),
) -> None:
    """Write the pairs of the first ``count`` images to a folder; an interrupted call is resumed.

    Args:
        miner: makes the pairs; each worker gets a copy.
        images: there may be fewer than ``count``.
        count: number of images.
        folder: of the pairs and the log.
        workers: processes that share the images; 0 means this one. The result is the same.
        choices: what made the miner, by the names of the options; a call is resumed only with the same.

    Raises:
        CheckpointError: the folder holds pairs of other images, of more of them, or of other choices.
    """
    about = {"source": images.source.describe(), "choices": dict(choices)}
    done = _begin(folder, images.source, about, count)
    if workers:
        cv2.setNumThreads(1)  # before workers fork: OpenCV hangs in a child of a process with its threads
    loader = DataLoader(
        _Mined(miner, images),
        batch_size=_IMAGES_PER_SAVE,
        sampler=range(done, count),
        num_workers=workers,
        collate_fn=list,
    )
    started = time.monotonic()
    for mined in receive(loader):
        batch = [pairs for pairs in mined if pairs is not None]
        if not batch:
            break
        append_pairs(folder, [pair for pairs in batch for pair in pairs])
        done += len(batch)
        _save_progress(folder, about, done)
        _log(folder, done, batch, time.monotonic() - started)
        started = time.monotonic()
    _save_progress(folder, about, done, finished=True)


class _Mined(Dataset):
    """Item ``n`` is the pairs of image ``n``, or ``None`` after the last one."""

    def __init__(self, miner: Miner[ImageT], images: Images[ImageT]):
        self.miner, self.images = miner, images

    def __getitem__(self, number: int) -> list[MaskNounPair] | None:
        return next(map(self.miner.mine, self.images.read(number, number + 1)), None)


def _begin(folder: Path, source: ImageSource, about: Mapping[str, Any], count: int) -> int:
    """Begin or resume a folder: remove lines after the last save; return the number of images that are done.

    Raises:
        CheckpointError: the folder holds pairs of other images, of more of them, or of other choices.
    """
    progress = folder / PROGRESS_FILE
    if not progress.exists():
        write_source(folder, source)
        (folder / PAIRS_FILE).write_text("")
        (folder / LOG_FILE).write_text("")
        _save_progress(folder, about, 0)
    saved = json.loads(progress.read_text())
    if saved["source"] != about["source"]:
        raise CheckpointError(
            f"{folder} holds pairs of other images; give --out another folder, or remove this one."
        )
    check_choices(folder, saved.get("choices", {}), about["choices"])
    if saved["images"] > count:
        raise CheckpointError(
            f"{folder} holds the pairs of {saved['images']} images, not of {count}; ask for as many, give "
            "--out another folder, or remove this one."
        )
    with (folder / PAIRS_FILE).open("r+b") as file:
        file.truncate(saved["bytes"])
    keep_entries(folder / LOG_FILE, up_to=saved["images"], key="images")
    return saved["images"]


def _save_progress(folder: Path, about: Mapping[str, Any], done: int, finished: bool = False) -> None:
    size = (folder / PAIRS_FILE).stat().st_size
    progress = folder / PROGRESS_FILE
    part = progress.with_name(progress.name + ".part")
    part.write_text(json.dumps({"images": done, "finished": finished, "bytes": size, **about}) + "\n")
    part.replace(progress)


def _log(folder: Path, done: int, batch: Sequence[Sequence[MaskNounPair]], seconds: float) -> None:
    pairs = sum(map(len, batch))
    entry = {
        "images": done,
        "pairs_per_image": round(pairs / len(batch), 2),
        "score": round(sum(pair.score for found in batch for pair in found) / max(1, pairs), 3),
        "images_per_second": round(len(batch) / seconds, 2),
    }
    append_entry(folder / LOG_FILE, entry)
