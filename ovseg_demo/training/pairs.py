"""``train pairs``: mask-noun pairs from captions (OVSeg, arXiv 2210.04150, section 3.2). No label is used.

The nouns of an image's caption are each matched with the mask, among those that MaskFormer proposes, whose
crop the pre-trained CLIP finds closest. The paper keeps every match. With a least score one is left out if
CLIP would not name the crop so among many nouns, or if another noun of its caption fits better.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from ovseg_demo.checkpoints import read_checkpoint
from ovseg_demo.classification.clip import MaskAdaptedClip
from ovseg_demo.classification.labeling import LOGIT_SCALE
from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals import Proposals
from ovseg_demo.proposals.maskformer import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.training.caption_nouns import find_nouns, without_colour
from ovseg_demo.training.captioned_images import CaptionedImage, CaptionedImages, open_captioned_images
from ovseg_demo.training.loop import LOG_FILE, WEIGHTS_FILE
from ovseg_demo.training.options import TrainOptions
from ovseg_demo.training.pairs_format import PAIRS_FILE, MaskNounPair, append_pairs, write_source
from ovseg_demo.training.presets import PairMining, find_settings

PROGRESS_FILE = "progress.json"
_IMAGES_PER_SAVE = 50
_TEMPLATES = "vild"


def train(options: TrainOptions) -> Path:
    """Collect the pairs of the preset's images (or ``options.steps`` of them); returns their folder.

    The proposals are those of ``options.init`` or of what ``train maskformer`` left, the CLIP is
    ``options.clip`` or what ``train clip`` left. An interrupted run goes on.
    """
    preset = find_settings(options.preset, "pairs")
    maskformer = find_settings(options.preset, "maskformer")
    generator = MaskFormerProposalGenerator(
        build_maskformer(
            read_checkpoint(options.init or options.out / "maskformer" / WEIGHTS_FILE).maskformer()
        ),
        min_size=maskformer.min_size,
        max_size=maskformer.max_size,
        mask_threshold=maskformer.mask_threshold,
        runtime=options.runtime(),
    )
    clip_tensors = read_checkpoint(options.clip or options.out / "clip" / WEIGHTS_FILE).clip()
    images = open_captioned_images(options.root, preset.captions_per_image)
    miner = PairMiner(
        generator=generator,
        clip=MaskAdaptedClip.from_tensors(clip_tensors, runtime=options.runtime()),
        contrast=common_nouns(images, preset),
        least_score=preset.least_score,
    )
    folder = options.folder("pairs")
    collect_pairs(miner, images, options.steps or preset.images, folder)
    return folder


def common_nouns(images: CaptionedImages, preset: PairMining) -> tuple[str, ...]:
    """The most frequent nouns, without colours, of a sample of the captions."""
    counts: dict[str, int] = {}
    for caption in images.sample_captions(preset.contrast_captions):
        for noun in find_nouns(caption):
            counts[without_colour(noun)] = counts.get(without_colour(noun), 0) + 1
    return tuple(sorted(counts, key=lambda noun: (-counts[noun], noun))[: preset.contrast_nouns])


@dataclass(eq=False)
class PairMiner:
    """Finds the pairs of one image at a time.

    Attributes:
        generator: of proposals.
        clip: un-adapted; it reads the masked crops as they are.
        contrast: nouns without colours, among which CLIP must recognise a crop.
        least_score: the least probability at which it counts as recognised; 0 keeps every match.
    """

    generator: MaskFormerProposalGenerator
    clip: MaskAdaptedClip
    contrast: tuple[str, ...]
    least_score: float

    def mine(self, captioned: CaptionedImage) -> list[MaskNounPair]:
        """The pairs of an image, at most one for each noun of its captions."""
        nouns = tuple(dict.fromkeys(noun for caption in captioned.captions for noun in find_nouns(caption)))
        if not nouns:
            return []
        proposals = self.generator(captioned.image)
        if not len(proposals):
            return []
        regions = self.clip.embed_regions(proposals, mask_prompts=False)  # (N, D)
        similarity = self.clip.embed_names(nouns, _TEMPLATES) @ regions.T  # (nouns, N)
        pairs = []
        for index, mask in enumerate(similarity.argmax(axis=1)):
            score = self._recognise(nouns[index], regions[mask])
            is_best = similarity[index, mask] >= similarity[:, mask].max()
            if not self.least_score or (is_best and score >= self.least_score):
                full = mask_at_image_size(proposals, int(mask))
                pairs.append(MaskNounPair.from_mask(captioned.name, nouns[index], score, full))
        return pairs

    def _recognise(self, noun: str, region: np.ndarray) -> float:
        """The probability that CLIP gives a noun, apart from its colour, for a region among the contrast."""
        plain = without_colour(noun)
        if plain in self.contrast:
            names, index = self._contrast_embeddings, self.contrast.index(plain)
        else:
            own = self.clip.embed_names([plain], _TEMPLATES)
            names, index = np.concatenate([self._contrast_embeddings, own]), len(self.contrast)
        logits = LOGIT_SCALE * names @ region
        weights = np.exp(logits - logits.max())
        return float(weights[index] / weights.sum())

    @cached_property
    def _contrast_embeddings(self) -> np.ndarray:
        return self.clip.embed_names(self.contrast, _TEMPLATES)


def mask_at_image_size(proposals: Proposals, index: int) -> np.ndarray:
    """A proposal's mask, bool (H, W), at the size of the image itself."""
    height, width = proposals.image_size
    mask = proposals.unpack(index).astype(np.float32)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5


def collect_pairs(miner: PairMiner, images: CaptionedImages, count: int, folder: Path) -> None:
    """Write the pairs of the first ``count`` images to a folder, from where an earlier call stopped."""
    done = _begin(folder, images)
    started = time.monotonic()
    for first in range(done, count, _IMAGES_PER_SAVE):
        stop = min(first + _IMAGES_PER_SAVE, count)
        batch = [miner.mine(captioned) for captioned in images.read(first, stop)]
        if not batch:
            break
        append_pairs(folder, [pair for pairs in batch for pair in pairs])
        _save_progress(folder, images, first + len(batch))
        _log(folder, first + len(batch), batch, time.monotonic() - started)
        started = time.monotonic()


def _begin(folder: Path, images: CaptionedImages) -> int:
    """How many images are done; what was written after the last save is cut off.

    Raises:
        CheckpointError: the folder holds pairs of other images.
    """
    progress = folder / PROGRESS_FILE
    if not progress.exists():
        write_source(folder, images.source)
        (folder / PAIRS_FILE).write_text("")
        (folder / LOG_FILE).write_text("")
        _save_progress(folder, images, 0)
    saved = json.loads(progress.read_text())
    if saved["source"] != images.source.describe():
        raise CheckpointError(
            f"{folder} holds pairs of other images; give --out another folder, or remove this one."
        )
    with (folder / PAIRS_FILE).open("r+b") as file:
        file.truncate(saved["bytes"])
    return saved["images"]


def _save_progress(folder: Path, images: CaptionedImages, done: int) -> None:
    progress = folder / PROGRESS_FILE
    state = {
        "images": done,
        "bytes": (folder / PAIRS_FILE).stat().st_size,
        "source": images.source.describe(),
    }
    part = progress.with_name(progress.name + ".part")
    part.write_text(json.dumps(state) + "\n")
    part.replace(progress)


def _log(folder: Path, done: int, batch: Sequence[Sequence[MaskNounPair]], seconds: float) -> None:
    pairs = sum(map(len, batch))
    entry = {
        "images": done,
        "pairs_per_image": round(pairs / len(batch), 2),
        "score": round(sum(pair.score for found in batch for pair in found) / max(1, pairs), 3),
        "images_per_second": round(len(batch) / seconds, 2),
    }
    line = json.dumps(entry)
    print(line, flush=True)
    with (folder / LOG_FILE).open("a") as file:
        file.write(line + "\n")
