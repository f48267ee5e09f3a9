"""Sizes and hyper-parameters of every step, on one page.

``sticker-world`` makes the bundled model on a small machine, ``coco`` holds the published hyper-parameters,
and ``toy`` runs in seconds for the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, ResNetConfig, SwinConfig
from ovseg_demo.proposals.sam.building import SamConfig
from ovseg_demo.proposals.sam.encoders.vit import VitConfig
from ovseg_demo.training.loop import LoopSettings


@dataclass(frozen=True)
class ClipSize:
    """A CLIP of open_clip's architecture; heads are 64 wide."""

    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 192
    vision_layers: int = 6
    text_width: int = 128
    text_layers: int = 3
    vocabulary: int = 8192
    context_length: int = 77
    embed_dim: int = 128


@dataclass(frozen=True)
class ClipPretraining:
    """Step 1.

    Attributes:
        size: architecture.
        loop: schedule and batch.
        learning_rate: at the peak.
        weight_decay: of matrices.
        images: different ones; each is drawn once, kept on disk and seen in many cut-outs and words.
        muon_learning_rate: of inner matrices; see :func:`ovseg_demo.training.loop.decay_groups`.
        kept_patches: share of an image's patches that the image tower reads, at random (FLIP, Li et al. 2023:
            more images a second); it reads all of them in the last part of the schedule.
        all_patches_from: where in the schedule (0 to 1) that last part begins.
        token_loss_weight: of the auxiliary loss that predicts the caption's tokens from the image feature.
        validation_scenes: whose regions are named for the figures.
        validation_crops: unmasked, named for the figures.
        crops_per_unseen_pair: of a colour and a noun, for the figures.
    """

    size: ClipSize
    loop: LoopSettings
    learning_rate: float
    weight_decay: float
    images: int
    muon_learning_rate: float | None = None
    kept_patches: float = 0.5
    all_patches_from: float = 0.8
    token_loss_weight: float = 0.5
    validation_scenes: int = 100
    validation_crops: int = 1000
    crops_per_unseen_pair: int = 4


@dataclass(frozen=True)
class SamTraining:
    """Step 2.

    Attributes:
        size: architecture.
        loop: schedule and batch.
        learning_rate: at the peak.
        weight_decay: of matrices.
        muon_learning_rate: of inner matrices; see :func:`ovseg_demo.training.loop.decay_groups`.
        prompts: points an image or part.
        cells: of the image embedding, on which the masks of a prompt are compared.
        parts: cut from each image …
        part_cells: … of so many cells a side …
        whole_from: … until this share of the schedule, and whole images from then on.
        quality_weight: of the loss of the predicted IoU.
        pair_weight: of the auxiliary loss on pairs of pixels.
        validation_scenes: on which the figures are taken.
    """

    size: SamConfig
    loop: LoopSettings
    learning_rate: float
    weight_decay: float
    prompts: int
    cells: int
    parts: int
    part_cells: int
    whole_from: float
    muon_learning_rate: float | None = None
    quality_weight: float = 3.0
    pair_weight: float = 0.5
    validation_scenes: int = 32


@dataclass(frozen=True)
class ImageSizes:
    """What MaskFormer is shown in training, in pixels.

    Attributes:
        shortest: the shorter side is resized to at least this many …
        longest: … and at most this many.
        crop: (width, height) of the part that is shown, multiples of 32; smaller images are padded.
    """

    shortest: int
    longest: int
    crop: tuple[int, int]


@dataclass(frozen=True)
class MaskFormerTraining:
    """Step 2 on the way to MaskFormer proposals.

    Attributes:
        size: architecture; the width of the class embeddings becomes CLIP's.
        loop: schedule and batch.
        learning_rate: at the peak.
        weight_decay: of matrices.
        images: sizes in training.
        muon_learning_rate: of inner matrices; see :func:`ovseg_demo.training.loop.decay_groups`.
        min_size: of the shorter side when masks are proposed.
        max_size: of the longer side then.
        mask_threshold: then.
        mask_pixels: on which masks are compared, at a quarter of the resolution; ``None`` means all.
        pixel_weight: of the auxiliary loss that names pixels from the mask features; 0 leaves it out.
        pair_weight: of the auxiliary loss by which pixels of one mask attract each other; 0 leaves it out.
        first_logit_scale: what similarities with class names are multiplied by at first; 100 in the end.
        validation_images: on which the figures are taken.
    """

    size: MaskFormerConfig
    loop: LoopSettings
    learning_rate: float
    weight_decay: float
    images: ImageSizes
    min_size: int
    max_size: int
    muon_learning_rate: float | None = None
    mask_threshold: float = 0.5
    mask_pixels: int | None = None
    pixel_weight: float = 0.0
    pair_weight: float = 0.0
    first_logit_scale: float = 100.0
    validation_images: int = 40


@dataclass(frozen=True)
class PairMining:
    """Step 4; the proposals are made with step 2's sizes.

    Attributes:
        images: that are looked at, if there are as many.
        captions_per_image: that are read.
        quality_weight: see :class:`ovseg_demo.training.pairs.PairMiner`.
        least_score: likewise.
        least_overlap: likewise.
        sam_thresholds: arguments of the generator of Segment Anything, if its masks are looked at.
        background_images: whose crops nouns are compared with.
    """

    images: int
    captions_per_image: int = 1
    quality_weight: float = 0.0
    least_score: float | None = None
    least_overlap: float | None = None
    sam_thresholds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    background_images: int = 100


@dataclass(frozen=True)
class ClipFinetuning:
    """Step 5.

    Attributes:
        loop: schedule and batch.
        learning_rate: at the peak, of the image tower.
        weight_decay: of matrices.
        unmasked_share: of a batch's regions, shown with their surroundings.
        kept_share: of the first weights in the mean that is saved.
        among_all_nouns: the loss; see :class:`ovseg_demo.training.clip_finetuning.FinetuningTask`.
        keep_regions: keep the cut regions on disk; see :class:`ovseg_demo.training.pair_regions.PairRegions`.
        held_out_pairs: that are not trained on but named for the figures.
        validation_scenes: of Sticker World, whose regions are named for the figures too; 0 for other worlds.
        validation_crops: unmasked, named for the figures.
        label_scenes: that ``train label-pairs`` takes its pairs from.
    """

    loop: LoopSettings
    learning_rate: float
    weight_decay: float
    unmasked_share: float = 0.0
    kept_share: float = 0.0
    among_all_nouns: bool = False
    keep_regions: bool = True
    held_out_pairs: int = 500
    validation_scenes: int = 100
    validation_crops: int = 1000
    label_scenes: int = 1000


@dataclass(frozen=True)
class MaskPromptTuning:
    """Step 6.

    Attributes:
        loop: schedule and batch.
        learning_rate: at the peak, of the prompts.
        depth: layers in whose input they stand.
        sure_share: see :class:`ovseg_demo.training.pair_regions.PairRegions`.
        among_all_nouns: as in step 5.
        keep_regions: as in step 5.
        held_out_pairs: as in step 5.
        validation_scenes: whose regions are named for the figures.
        validation_crops: unmasked, named for the figures.
    """

    loop: LoopSettings
    learning_rate: float
    depth: int = 3
    sure_share: float = 0.0
    among_all_nouns: bool = False
    keep_regions: bool = True
    held_out_pairs: int = 500
    validation_scenes: int = 100
    validation_crops: int = 1000


@dataclass(frozen=True)
class Preset:
    """All steps of the pipeline at one size; ``None`` for those that it takes published weights for."""

    clip: ClipPretraining | None = None
    maskformer: MaskFormerTraining | None = None
    pairs: PairMining | None = None
    finetuning: ClipFinetuning | None = None
    mask_prompts: MaskPromptTuning | None = None
    sam: SamTraining | None = None


PRESETS = {
    "toy": Preset(
        clip=ClipPretraining(
            size=ClipSize(32, 8, 64, 2, 64, 2, 1024, 77, 32),
            loop=LoopSettings(steps=8, batch_size=16, warmup_steps=2, log_every=2),
            learning_rate=1e-3,
            weight_decay=0.05,
            images=64,
            validation_scenes=2,
            validation_crops=20,
            crops_per_unseen_pair=0,
        ),
        maskformer=MaskFormerTraining(
            size=MaskFormerConfig(
                ResNetConfig((8, 8, 16), (1, 1, 1, 1), (8, 8, 16, 16), (32, 32, 64, 64)),
                embedding_width=32,
                pixel_decoder_width=32,
                mask_width=32,
                hidden_width=32,
                feedforward_width=64,
                decoder_layers=2,
                queries=12,
                mask_embed_widths=(32, 32),
                class_embed_widths=(32,),
            ),
            loop=LoopSettings(steps=4, batch_size=2, warmup_steps=1, log_every=2),
            learning_rate=1e-3,
            weight_decay=0.05,
            images=ImageSizes(96, 128, (128, 96)),
            min_size=96,
            max_size=384,
            pixel_weight=1.0,
            pair_weight=1.0,
            first_logit_scale=20.0,
            validation_images=2,
        ),
        pairs=PairMining(images=12, background_images=3),
        finetuning=ClipFinetuning(
            loop=LoopSettings(steps=6, batch_size=16, warmup_steps=1, log_every=2),
            learning_rate=1e-4,
            weight_decay=0.05,
            unmasked_share=0.25,
            kept_share=0.25,
            held_out_pairs=8,
            validation_scenes=2,
            validation_crops=20,
            label_scenes=6,
        ),
        mask_prompts=MaskPromptTuning(
            loop=LoopSettings(steps=6, batch_size=16, warmup_steps=1, log_every=2),
            learning_rate=0.01,
            depth=2,
            held_out_pairs=8,
            validation_scenes=2,
            validation_crops=20,
        ),
        sam=SamTraining(
            size=SamConfig(
                encoder=VitConfig(
                    image_size=64,
                    patch_size=8,
                    embed_dim=64,
                    depth=2,
                    num_heads=1,
                    mlp_dim=256,
                    window_size=4,
                    global_attention=(1,),
                ),
                prompt_dim=32,
                decoder_mlp_dim=64,
                iou_head_dim=32,
            ),
            loop=LoopSettings(steps=4, batch_size=2, warmup_steps=1, log_every=2),
            learning_rate=1e-3,
            muon_learning_rate=2e-3,
            weight_decay=0.02,
            prompts=4,
            cells=8,
            parts=2,
            part_cells=4,
            whole_from=0.5,
            validation_scenes=2,
        ),
    ),
    "coco": Preset(  # OVSEG.md, section 10; 442,117 pairs, 5 epochs of batches of 4 × 32
        maskformer=MaskFormerTraining(
            size=MaskFormerConfig(
                SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32), (12, 12, 12, 12)), embedding_width=768
            ),
            loop=LoopSettings(
                steps=120_000,
                batch_size=32,
                warmup_steps=1500,
                schedule="poly",
                betas=(0.9, 0.999),
                epsilon=1e-8,
                clip_norm=0.01,
                workers=8,
                evaluate_every=5000,
            ),
            learning_rate=6e-5,
            weight_decay=0.01,
            images=ImageSizes(320, 1280, (640, 640)),
            min_size=640,
            max_size=2560,
            mask_threshold=0.4,
            validation_images=500,
        ),
        pairs=PairMining(images=118_287),
        finetuning=ClipFinetuning(
            loop=LoopSettings(
                steps=17_270,
                batch_size=128,
                warmup_steps=100,
                clip_norm=None,
                workers=8,
                evaluate_every=2000,
            ),
            learning_rate=5e-6,
            weight_decay=0.2,
            keep_regions=False,
            held_out_pairs=2000,
            validation_scenes=0,
        ),
        mask_prompts=MaskPromptTuning(
            loop=LoopSettings(
                steps=17_270,
                batch_size=128,
                warmup_steps=100,
                clip_norm=None,
                workers=8,
                evaluate_every=2000,
            ),
            learning_rate=0.05,
            keep_regions=False,
            held_out_pairs=2000,
            validation_scenes=0,
        ),
    ),
    "sticker-world": Preset(
        clip=ClipPretraining(
            size=ClipSize(),
            loop=LoopSettings(steps=6000, batch_size=256, warmup_steps=100, workers=2, evaluate_every=500),
            learning_rate=1e-3,
            muon_learning_rate=3e-3,
            weight_decay=0.05,
            images=200_000,
        ),
        maskformer=MaskFormerTraining(
            size=MaskFormerConfig(
                ResNetConfig((16, 16, 32), (2, 2, 3, 2), (32, 64, 128, 128), (64, 128, 256, 512)),
                embedding_width=128,
                pixel_decoder_width=64,
                mask_width=64,
                hidden_width=128,
                feedforward_width=512,
                queries=40,
                mask_embed_widths=(128, 128),
                class_embed_widths=(128,),
            ),
            loop=LoopSettings(
                steps=20_000, batch_size=8, warmup_steps=100, schedule="poly", workers=1, evaluate_every=2000
            ),
            learning_rate=7e-4,
            weight_decay=0.05,
            images=ImageSizes(256, 480, (448, 352)),
            min_size=384,
            max_size=1536,
            muon_learning_rate=1.5e-3,
            mask_threshold=0.4,
            mask_pixels=1600,
            pixel_weight=4.0,
            pair_weight=2.0,
            first_logit_scale=10.0,
        ),
        pairs=PairMining(
            images=6000,
            quality_weight=0.6,
            least_score=2.0,
            least_overlap=0.5,
            sam_thresholds=MappingProxyType(
                {"points_per_side": 10, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.6}
            ),
        ),
        finetuning=ClipFinetuning(
            loop=LoopSettings(steps=1500, batch_size=256, warmup_steps=30, workers=1, evaluate_every=500),
            learning_rate=4e-4,
            weight_decay=0.05,
            unmasked_share=0.25,
            kept_share=0.15,
            among_all_nouns=True,
        ),
        mask_prompts=MaskPromptTuning(
            loop=LoopSettings(steps=60, batch_size=256, warmup_steps=5, workers=1, evaluate_every=60),
            learning_rate=0.01,
            depth=1,
            sure_share=0.5,
            among_all_nouns=True,
        ),
        sam=SamTraining(
            size=SamConfig(
                encoder=VitConfig(
                    image_size=256,
                    patch_size=8,
                    embed_dim=192,
                    depth=6,
                    num_heads=3,
                    mlp_dim=768,
                    window_size=8,
                    global_attention=(2, 5),
                ),
                prompt_dim=128,
                decoder_mlp_dim=512,
                iou_head_dim=128,
            ),
            loop=LoopSettings(
                steps=12_000, batch_size=8, warmup_steps=100, schedule="poly", workers=1, evaluate_every=1000
            ),
            learning_rate=1e-3,
            muon_learning_rate=2e-3,
            weight_decay=0.02,
            prompts=12,
            cells=128,
            parts=2,
            part_cells=16,
            whole_from=0.8,
        ),
    ),
}


def find_settings(name: str, step: str) -> Any:
    """One step's part of a preset: its field ``step``.

    Raises:
        ModelError: there is no such preset, or it takes published weights for that step.
    """
    settings = getattr(find_preset(name), step)
    if settings is None:
        raise ModelError(
            f'The preset "{name}" has no step "{step}": it starts from published weights (--init).'
        )
    return settings


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in PRESETS:
        raise ModelError(f'There is no training preset "{name}"; choose one of {", ".join(PRESETS)}.')
    return PRESETS[name]
