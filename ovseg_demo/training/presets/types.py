"""The hyper-parameters of each training stage.

``loop`` holds the length, the batch and the schedule of a stage, ``learning_rate`` is the rate at the
schedule's peak, and ``weight_decay`` applies to matrices only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ovseg_demo.proposals.maskformer.config import MaskFormerConfig
from ovseg_demo.proposals.sam.building import SamConfig
from ovseg_demo.training.schedule import LoopSettings


@dataclass(frozen=True)
class ClipSize:
    """A CLIP of open_clip's architecture; attention heads have 64 channels. Images are square."""

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
    """The stage "clip".

    Attributes:
        size: architecture.
        loop: schedule and batch.
        learning_rate: of AdamW.
        weight_decay: of matrices.
        images: number of different images. Each is drawn once and stored; every pass over them makes new
            crops and captions.
        muon_learning_rate: of inner matrices, see :func:`ovseg_demo.training.optimizers.decay_groups`.
        kept_patches: share of an image's patches, chosen at random, that the image tower processes. This
            trains on more images a second (FLIP, Li et al. 2023).
        all_patches_from: share of the schedule after which the image tower processes all patches.
        token_loss_weight: weight of the auxiliary loss that predicts the caption's tokens from the image
            feature.
        validation_scenes: scenes whose regions are classified for the validation figures.
        validation_crops: unmasked crops that are classified for the validation figures.
        crops_per_unseen_pair: validation crops of each colour-noun pair that training leaves out.
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
    """The stage "sam".

    Attributes:
        size: architecture.
        loop: schedule and batch.
        learning_rate: of AdamW.
        weight_decay: of matrices.
        prompts: point prompts for each image or crop.
        cells: cells of the image embedding on which the masks of a prompt are compared.
        parts: crops of each image that the first part of the schedule trains on.
        part_cells: side of such a crop in cells of the image embedding.
        whole_from: share of the schedule after which whole images replace the crops.
        muon_learning_rate: of inner matrices, see :func:`ovseg_demo.training.optimizers.decay_groups`.
        quality_weight: weight of the loss of the predicted IoU.
        pair_weight: weight of the auxiliary loss on pairs of pixels.
        validation_scenes: scenes of the validation figures.
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
    """Sizes of MaskFormer's training images, in pixels.

    Attributes:
        shortest: smallest length of the shorter side after resizing.
        longest: largest length of the shorter side after resizing.
        crop: (width, height) of the crop, multiples of 32; smaller images are padded.
    """

    shortest: int
    longest: int
    crop: tuple[int, int]


@dataclass(frozen=True)
class MaskFormerTraining:
    """The stage "maskformer".

    Attributes:
        size: architecture; the width of the class embeddings becomes CLIP's.
        loop: schedule and batch.
        learning_rate: of AdamW.
        weight_decay: of matrices.
        images: sizes of the training images.
        min_size: length of the shorter side when masks are proposed, in pixels.
        max_size: largest length of the longer side when masks are proposed.
        muon_learning_rate: of inner matrices, see :func:`ovseg_demo.training.optimizers.decay_groups`.
        mask_threshold: probability from which a pixel belongs to a proposed mask.
        mask_pixels: pixels on which masks are compared, at a quarter of the resolution; ``None`` means all.
        pixel_weight: weight of the auxiliary loss that classifies pixels by their mask features; 0 omits it.
        pair_weight: weight of the auxiliary loss on pairs of pixels; 0 omits it.
        first_logit_scale: factor of the similarities with class names at the start; it rises to 100.
        validation_images: images of the validation figures.
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
    """The stage "pairs"; "maskformer" holds the sizes at which masks are proposed.

    Attributes:
        images: largest number of images to mine.
        captions_per_image: number of captions of each image to parse.
        quality_weight: see :class:`ovseg_demo.training.pairs.PairMiner`.
        least_score: see :class:`ovseg_demo.training.pairs.PairMiner`.
        least_overlap: see :class:`ovseg_demo.training.pairs.PairMiner`.
        sam_thresholds: arguments of Segment Anything's generator, which is used if its weights are given.
        background_images: images whose crops every noun is compared with.
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
    """The stage "finetune".

    Attributes:
        loop: schedule and batch.
        learning_rate: of the image tower.
        weight_decay: of matrices.
        unmasked_share: share of a batch's regions that keep their surroundings.
        kept_share: share of the initial weights in the mean that is saved.
        among_all_nouns: the loss, see :class:`ovseg_demo.training.clip_finetuning.FinetuningTask`.
        keep_regions: store the cut regions, see :class:`ovseg_demo.training.pair_regions.PairRegions`.
        held_out_pairs: pairs that are left out of training and classified for the validation figures.
        validation_scenes: scenes of Sticker World whose regions are classified for the validation figures; 0
            for other data sets.
        validation_crops: unmasked crops that are classified for the validation figures.
        label_scenes: scenes from which the stage "label-pairs" takes pairs.
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
    """The stage "mask-prompts".

    Attributes:
        loop: schedule and batch.
        learning_rate: of the prompts.
        depth: number of layers with mask prompts, counted from the first.
        sure_share: see :class:`ovseg_demo.training.pair_regions.PairRegions`.
        among_all_nouns: as in :class:`ClipFinetuning`.
        keep_regions: as in :class:`ClipFinetuning`.
        held_out_pairs: as in :class:`ClipFinetuning`.
        validation_scenes: as in :class:`ClipFinetuning`.
        validation_crops: as in :class:`ClipFinetuning`.
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
    """The settings of all stages; ``None`` for a stage whose published weights are used instead."""

    clip: ClipPretraining | None = None
    maskformer: MaskFormerTraining | None = None
    pairs: PairMining | None = None
    finetuning: ClipFinetuning | None = None
    mask_prompts: MaskPromptTuning | None = None
    sam: SamTraining | None = None
