"""MaskFormer for photographs behind the frozen trunk of Segment Anything's image encoder.

Masks come from labels and from Segment Anything (:mod:`.distilled_masks`), names from labels. Losses are
MaskFormer's (arXiv 2107.06278): queries are matched with masks one to one in every decoder layer. Labelled
masks are offered twice, so that more queries learn of each. A mask without a name only has to be none that is
"no object". Queries start as discs (:mod:`.place_start`).

Run it with ``python -m ovseg_demo.training.photos maskformer``; see ``docs/how-to/train-on-photographs.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from ovseg_demo.classification.building import build_classifier
from ovseg_demo.classification.types import LOGIT_SCALE
from ovseg_demo.evaluation.photos import measure_coverage
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.clip_sources import find_clip_files, read_clip_source
from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, timm_cnn
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, published_tensors
from ovseg_demo.proposals.normalization import PIXEL_MEAN, PIXEL_STD
from ovseg_demo.proposals.sam.generator import SamProposalGenerator, build_sam
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.maskformer_losses import (
    UNMATCHED,
    MaskTargets,
    class_logits,
    mask_costs,
    mask_losses,
)
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.pair_loss import pair_loss
from ovseg_demo.training.photos.distilled_masks import SAM_OPTIONS, keep_masks, photographs_to_distill
from ovseg_demo.training.photos.place_start import QUERIES, start_at_anchors
from ovseg_demo.training.photos.query_samples import EMPTY, QuerySamples, source_names
from ovseg_demo.training.photos.sources import read_coco
from ovseg_demo.training.resuming import Choice, describe_choice, name_choices
from ovseg_demo.training.schedule import LoopSettings
from ovseg_demo.training.task import TrainingTask

TRUNK_PREFIX = "image_encoder.trunk."
"""Begins the names of the trunk's tensors in the file of Segment Anything."""


@dataclass(frozen=True)
class PhotoMaskFormerSettings:
    """Sizes and hyper-parameters.

    Attributes:
        size: architecture; its backbone is that of the Segment Anything whose trunk is used.
        loop: schedule and batch.
        side: of square samples in pixels, a multiple of 32. Sizes are relative to the input, so that a
            training may begin with small images.
        masks: of a sample, at most; labelled ones are offered twice.
        pixels: of an image, on which masks are compared.
        learning_rate: at the peak; of the inner layers' matrices by Muon, ``muon_rate``.
        weight_decay: of matrices.
        dice_weight: of the dice loss, beside a focal loss of weight 20.
        class_weight: of the cross-entropy of names.
        non_object_weight: of a query without a mask in it.
        first_logit_scale: first factor of the similarities with names; it rises to 100.
        pair_weight: of the auxiliary loss on pairs of pixels.
        min_size: shorter side in pixels of validation images.
        mask_threshold: of the masks of validation.
        validation_step: each n-th photograph of COCO's validation split is measured.
    """

    size: MaskFormerConfig
    loop: LoopSettings
    side: int = 384
    masks: int = 40
    pixels: int = 1024
    learning_rate: float = 1e-3
    muon_rate: float = 1.5e-3
    weight_decay: float = 0.02
    dice_weight: float = 4.0
    class_weight: float = 0.3
    non_object_weight: float = 0.05
    first_logit_scale: float = 20.0
    pair_weight: float = 0.3
    min_size: int = 384
    mask_threshold: float = 0.4
    validation_step: int = 2


def photo_mini(embedding_width: int = 512) -> PhotoMaskFormerSettings:
    """Return the settings of the bundled model, for a CLIP whose text embeddings have this width."""
    return PhotoMaskFormerSettings(
        size=MaskFormerConfig(
            backbone=timm_cnn("tf_efficientnet_lite0"),
            embedding_width=embedding_width,
            pixel_decoder_width=64,
            mask_width=64,
            hidden_width=128,
            feedforward_width=384,
            decoder_layers=3,
            queries=QUERIES,
            mask_embed_widths=(128, 128),
            class_embed_widths=(128,),
            knows_places=True,
        ),
        loop=LoopSettings(
            steps=30_000,
            batch_size=8,
            warmup_steps=40,
            final_factor=0.02,
            workers=1,
            log_every=20,
            evaluate_every=400,
            save_minutes=3.0,
        ),
    )


def distil(root: Path, sam: Path, folder: Path) -> int:
    """Keep a Segment Anything's masks of the training photographs; returns how many photographs there are.

    Args:
        root: folder of labelled photographs.
        sam: weights of the teacher.
        folder: of the masks; photographs whose masks it has are passed over.
    """
    network = build_sam(read_checkpoint(sam, CheckpointKind.SAM).sam())
    generator = SamProposalGenerator(network, **SAM_OPTIONS)
    return sum(1 for _ in keep_masks(generator, photographs_to_distill(root), folder))


def describe_inputs(root: Path, sam: Path, clip: Path | None, stamps: Path | None) -> dict[str, Choice]:
    """Return what a run must keep when it goes on, by the names of the options.

    Raises:
        CheckpointError: ``clip`` is a folder without a configuration or weights.
    """
    weights = find_clip_files(clip).weights if clip else None
    paths = {"root": root, "sam": sam, "clip": weights, "stamps": stamps}
    return {name: describe_choice(path) for name, path in paths.items()}


def teacher_folder(folder: Path, root: Path, sam: Path) -> Path:
    """Return the folder, within that of a run, of this Segment Anything's masks of these photographs."""
    made_of = {"root": describe_choice(root), "sam": describe_choice(sam)}
    return folder / f"teacher-{name_choices(made_of)}"


def embed_source_names(root: Path, clip: Path) -> dict[str, Tensor]:
    """Return the text embedding, float32 (D,) of unit length, of each name in the labels of the photographs.

    Args:
        root: folder of labelled photographs.
        clip: a CLIP's weights, or a folder in open_clip's layout.
    """
    names = list(dict.fromkeys(name for of_source in source_names(root) for name in of_source))
    classifier = build_classifier(read_clip_source(clip), Runtime(torch.device("cpu")))
    embeddings = torch.from_numpy(classifier.embed_names(names, "vild"))
    return dict(zip(names, embeddings, strict=True))


def train(
    settings: PhotoMaskFormerSettings,
    root: Path,
    sam: Path,
    texts: dict[str, Tensor],
    teacher: Path,
    folder: Path,
    runtime: Runtime,
    stamps: Path | None = None,
    clip: Path | None = None,
) -> Path:
    """Train, going on from the folder's checkpoint; returns the weights, an OVSeg checkpoint without CLIP.

    Args:
        settings: sizes and hyper-parameters.
        root: folder of labelled photographs.
        sam: weights of the Segment Anything whose trunk is used.
        texts: text embedding of each name of the sources, of unit length.
        teacher: folder of the masks that :func:`distil` kept.
        folder: of checkpoint, log and weights.
        runtime: device and precision.
        stamps: folder of cut-out things that are pasted, too.
        clip: that the ``texts`` are of; a run goes on with the same one only.

    Raises:
        CheckpointError: the folder's checkpoint is of other inputs, or ``sam`` cannot be read.
    """
    torch.manual_seed(settings.loop.seed)
    task = PhotoMaskFormerTask(settings, root, sam, texts, teacher, stamps)
    inputs = describe_inputs(root, sam, clip, stamps)
    return run_training(task, settings.loop, folder, runtime, inputs)


class PhotoMaskFormerTask(TrainingTask):
    """MaskFormer's losses on photographs with some masks and fewer names."""

    def __init__(
        self,
        settings: PhotoMaskFormerSettings,
        root: Path,
        sam: Path,
        texts: dict[str, Tensor],
        teacher: Path,
        stamps: Path | None = None,
    ):
        super().__init__()
        self.settings, self.root, self.teacher, self.stamps = settings, root, teacher, stamps
        self.network = MaskFormerNetwork(settings.size)
        start_at_anchors(self.network)
        nn.init.normal_(self.network.non_object_embedding, std=settings.size.embedding_width**-0.5)
        tensors = read_checkpoint(sam, CheckpointKind.SAM).sam()
        trunk = {
            name.removeprefix(TRUNK_PREFIX): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(TRUNK_PREFIX)
        }
        self.network.backbone.trunk.load_state_dict(trunk)
        self.network.backbone.to(memory_format=torch.channels_last).requires_grad_(False)
        sources = source_names(root)
        self.source_names = sources
        for number, names in enumerate(sources):
            embeddings = [texts[name] for name in names]
            shape = (0, settings.size.embedding_width)
            rows = torch.stack(embeddings) if embeddings else torch.zeros(shape)
            self.register_buffer(f"texts_{number}", rows, persistent=False)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        self.logit_scale = settings.first_logit_scale

    def parameter_groups(self) -> list[dict]:
        """Return the groups: matrices inside are for Muon; queries, places and heads for AdamW."""
        settings, head = self.settings, self.network.sem_seg_head
        predictor = head.predictor
        outer = [head.pixel_decoder.place_proj, predictor.place_proj, predictor.input_proj]
        outer += [predictor.mask_embed.layers[-1], predictor.class_embed.layers[-1]]
        return decay_groups(
            self.network,
            settings.learning_rate,
            settings.weight_decay,
            muon_lr=settings.muon_rate,
            muon_without=outer,
            muon_layers=(nn.Conv2d, nn.Linear, nn.MultiheadAttention),
        )

    def dataset(self) -> Dataset:
        """Return samples without end."""
        loop = self.settings.loop
        return QuerySamples(
            self.root,
            self.teacher,
            side=self.settings.side,
            batch_size=loop.batch_size,
            masks=self.settings.masks,
            seed=loop.seed,
            stamps=self.stamps,
        )

    def before_step(self, progress: float) -> None:
        """Raise the factor of the similarities with names."""
        first = self.settings.first_logit_scale
        self.logit_scale = min(LOGIT_SCALE, first + (LOGIT_SCALE - first) * progress / 0.7)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of :class:`.query_samples.QuerySample`, and its terms."""
        settings, head = self.settings, self.network.sem_seg_head
        device_type = batch["image"].device.type
        pixels = (batch["image"].float() - self.pixel_mean) / self.pixel_std
        with torch.no_grad():
            features = self.network.backbone(pixels)
        # Channels last makes group norm's gradient many times slower on a CPU.
        mask_features = head.pixel_decoder([feature.contiguous() for feature in features])
        with torch.autocast(device_type, enabled=False):
            mask_features = mask_features.float()
            present = batch["names"] != EMPTY
            most = int(present.sum(dim=1).max())
            losses, figures = self._query_losses(features[-1].float(), mask_features, batch)
            regions = _partition(batch["masks"][:, :most], present[:, :most])
            losses["pairs"] = settings.pair_weight * pair_loss(mask_features, regions)
        return sum(losses.values()), figures | {name: loss.detach() for name, loss in losses.items()}

    def _query_losses(
        self, res5: Tensor, mask_features: Tensor, batch: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        settings, predictor = self.settings, self.network.sem_seg_head.predictor
        content = torch.stack(predictor.decode(res5, predictor.query_embed.weight.expand(len(res5), -1, -1)))
        embeddings = predictor.embed_masks(content)  # (L, B, Q, M)
        some = torch.randperm(mask_features.shape[2] * mask_features.shape[3])[: settings.pixels]
        features = mask_features.flatten(2)[..., some]
        rows = _asked_rows(batch)
        first, is_empty = rows.clamp(min=0), rows < 0
        names = batch["names"].gather(1, first).masked_fill(is_empty, EMPTY)
        weights = batch["weights"].gather(1, first).masked_fill(is_empty, 0.0)
        masks = batch["masks"].flatten(2)[..., some]
        masks = masks.gather(1, first[..., None].expand(-1, -1, masks.shape[2])) & ~is_empty[..., None]
        masks = masks.float()
        targets = MaskTargets(names, masks, torch.ones_like(masks[:, :1]))
        queries = match_masks(embeddings, features, targets, settings.dice_weight)
        chosen = queries.clamp(min=0)[..., None].expand(-1, -1, -1, embeddings.shape[3])
        present = (queries != UNMATCHED) * weights
        losses = mask_losses(embeddings.gather(2, chosen), present, features, targets)
        losses["dice"] = settings.dice_weight * losses["dice"]
        losses["class"] = settings.class_weight * self._name_loss(content, queries, names, batch["source"])
        figures = {"iou": _mean_iou(embeddings[-1].gather(1, chosen[-1]) @ features, targets, present[-1])}
        return losses, figures

    def _name_loss(self, content: Tensor, queries: Tensor, names: Tensor, sources: Tensor) -> Tensor:
        """Return the cross-entropy of the queries' names; those whose mask has none do not count."""
        embeddings = self.network.sem_seg_head.predictor.class_embed(content)
        nothing = self.network.non_object_embedding
        losses, total = [], 0.0
        for image, source in enumerate(sources.tolist()):
            texts = self.get_buffer(f"texts_{source}")
            logits = class_logits(embeddings[:, image], texts, nothing, self.logit_scale)  # (L, Q, K + 1)
            wanted = torch.full(logits.shape[:2], len(texts), device=logits.device)
            layer, mask = (queries[:, image] != UNMATCHED).nonzero(as_tuple=True)
            wanted[layer, queries[layer, image, mask]] = names[image, mask]
            weights = torch.ones(len(texts) + 1, device=logits.device)
            weights[-1] = self.settings.non_object_weight
            flat = wanted.flatten()
            losses.append(
                F.cross_entropy(logits.flatten(0, 1), flat, weights, ignore_index=-1, reduction="sum")
            )
            total += float(weights[flat[flat >= 0]].sum())
        return len(content) * sum(losses) / max(total, 1e-6)

    @cached_property
    def _validation(self) -> list:
        return read_coco(self.root, "val")[:: self.settings.validation_step]

    def evaluate(self) -> dict[str, float]:
        """Return how many of COCO's objects the masks cover; see :func:`.measure_coverage`."""
        settings = self.settings
        generator = MaskFormerProposalGenerator(
            self.network,
            min_size=settings.min_size,
            mask_threshold=settings.mask_threshold,
            runtime=Runtime(self.pixel_mean.device),
        )
        with torch.autocast(self.pixel_mean.device.type, enabled=False):
            return {n: round(v, 4) for n, v in measure_coverage(generator, self._validation).items()}

    def save(self, path: Path) -> None:
        """Write a full OVSeg checkpoint without CLIP in half precision."""
        half = {name: tensor.half().contiguous() for name, tensor in published_tensors(self.network).items()}
        save_atomically({"model": half}, path)


@torch.no_grad()
def match_masks(embeddings: Tensor, features: Tensor, targets: MaskTargets, dice_weight: float) -> Tensor:
    """Return the query of each mask (L, B, T), by Hungarian matching of masks alone; -1 for empty rows.

    Args:
        embeddings: (L, B, Q, M), of the queries' masks.
        features: (B, M, P).
        targets: masks on the P pixels; ``classes`` is below -1 for rows without a mask.
        dice_weight: of the dice loss.
    """
    present = targets.classes != EMPTY
    queries = torch.full((len(embeddings), *targets.classes.shape), UNMATCHED)
    for layer, of_layer in enumerate(embeddings):
        costs = mask_costs(of_layer @ features, targets, dice_weight)
        for image, (cost, rows) in enumerate(zip(costs.cpu().numpy(), present.cpu().numpy(), strict=True)):
            asked = np.flatnonzero(rows)
            query, mask = linear_sum_assignment(cost[:, asked])
            queries[layer, image, torch.from_numpy(asked[mask])] = torch.from_numpy(query)
    return queries.to(embeddings.device)


@torch.no_grad()
def _mean_iou(logits: Tensor, targets: MaskTargets, weights: Tensor) -> Tensor:
    """Return the mean IoU of mask logits (B, T, P) with labelled masks of more than four of the pixels."""
    own, wanted = logits > 0, targets.masks > 0
    iou = (own & wanted).sum(dim=2) / (own | wanted).sum(dim=2).clamp(min=1)
    counted = (weights == 1.0) & (wanted.sum(dim=2) > 4)
    return (iou * counted).sum() / counted.sum().clamp(min=1)


def _asked_rows(batch: dict[str, Tensor]) -> Tensor:
    """Return the rows of masks that queries are asked for, int64 (B, T): labelled ones twice; then -1."""
    times = (batch["names"] != EMPTY).long() + (batch["weights"] == 1.0).long()
    found = [torch.arange(len(row), device=row.device).repeat_interleave(row) for row in times]
    return pad_sequence(found, batch_first=True, padding_value=-1)


def _partition(masks: Tensor, present: Tensor) -> Tensor:
    """Return the number of the smallest mask at each pixel, int64 (B, h, w); -1 where there is none."""
    areas = masks.sum(dim=(2, 3)).float().masked_fill(~present, torch.inf)
    costs = torch.where(masks & present[..., None, None], areas[..., None, None], torch.inf)
    smallest, number = costs.min(dim=1)
    return torch.where(smallest.isinf(), -1, number)
