"""The stage "maskformer": train mask proposals with open-vocabulary class embeddings, on the base classes.

The losses are MaskFormer's (arXiv 2107.06278) on every decoder layer, with CLIP's text embeddings of the
class names as targets (OVSeg, section 3.1). Three additions speed up training from random weights:

* A linear layer, which is not saved, classifies single pixels by their mask features.
* A loss on pairs of pixels attracts the mask features of one mask and separates those of different masks.
* The factor of the similarities with class names rises slowly to 100, because a large factor amplifies the
  noise of untrained class embeddings.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from typing_extensions import override

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.labeling import LOGIT_SCALE
from ovseg_demo.models.checkpoints import Checkpoint, read_checkpoint
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, build_maskformer, published_tensors
from ovseg_demo.proposals.normalization import PIXEL_MEAN, PIXEL_STD
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.maskformer_data import LabelledImages, open_images
from ovseg_demo.training.maskformer_losses import (
    MaskTargets,
    QueryOutputs,
    class_logits,
    sample_pixels,
    set_losses,
)
from ovseg_demo.training.maskformer_validation import mask_figures
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.options import MaskFormerOptions
from ovseg_demo.training.pair_loss import pair_loss
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.presets.types import MaskFormerTraining
from ovseg_demo.training.task import TrainingTask

_PIXELS_PER_IMAGE = 512
_SCALED_UP_AT = 0.7
"""Share of the schedule after which the factor of the similarities is 100."""


def train(options: MaskFormerOptions) -> Path:
    """Train MaskFormer; returns the weights file, a full OVSeg checkpoint with the CLIP of the class names.

    That CLIP is ``options.clip``, else the one in ``options.init``, else that of the stage "clip".
    """
    preset = find_settings(options.preset, "maskformer")
    torch.manual_seed(options.seed)
    init = read_checkpoint(options.init) if options.init else None
    names = options.clip or (None if init else options.weights_of("clip"))
    clip = read_checkpoint(names) if names else init
    task = MaskFormerTask(preset, open_images(options.root), clip, options.seed, init)
    loop, choices = options.apply_to(preset.loop), options.choices(clip=names)
    return run_training(task, loop, options.folder, options.runtime(), choices)


class MaskFormerTask(TrainingTask):
    """MaskFormer's losses on labelled images."""

    def __init__(
        self,
        preset: MaskFormerTraining,
        images: LabelledImages,
        clip: Checkpoint,
        seed: int,
        init: Checkpoint | None = None,
    ):
        super().__init__()
        self.preset, self.images, self.seed = preset, images, seed
        self.clip_tensors = clip.clip()
        text = embed_class_names(self.clip_tensors, images.class_names)
        self.register_buffer("text_embeddings", torch.from_numpy(text), persistent=False)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD)[:, None, None], persistent=False)
        if init:
            network = build_maskformer(init.maskformer())
        else:
            network = MaskFormerNetwork(replace(preset.size, embedding_width=text.shape[1]))
            # As long as the text embeddings.
            nn.init.normal_(network.non_object_embedding, std=text.shape[1] ** -0.5)
        self.network = network.to(memory_format=torch.channels_last)
        for module in network.sem_seg_head.pixel_decoder.modules():
            if isinstance(module, nn.GroupNorm):
                module.register_forward_pre_hook(_make_contiguous)
        self.pixel_head = None
        if preset.pixel_weight:
            self.pixel_head = nn.Linear(network.config.mask_width, len(images.class_names))
        # Trained class embeddings need the full factor from the start.
        self.first_logit_scale = LOGIT_SCALE if init else preset.first_logit_scale
        self.logit_scale = self.first_logit_scale

    @override
    def parameter_groups(self) -> list[dict]:
        """Return the groups of all parameters; with Muon, only the pixel head's matrix stays with AdamW."""
        preset = self.preset
        return decay_groups(
            self,
            preset.learning_rate,
            preset.weight_decay,
            muon_lr=preset.muon_learning_rate,
            muon_without=[self.pixel_head] if self.pixel_head is not None else [],
            muon_layers=(nn.Conv2d, nn.Linear, nn.MultiheadAttention),
        )

    @override
    def dataset(self) -> Dataset:
        """Return an endless stream of labelled images."""
        return self.images.training(self.preset.images, self.seed)

    @override
    def before_step(self, progress: float) -> None:
        """Raise the scale of the class logits evenly, to its final value at 0.7 of the schedule."""
        first = self.first_logit_scale
        self.logit_scale = min(LOGIT_SCALE, first + (LOGIT_SCALE - first) * progress / _SCALED_UP_AT)

    @override
    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of MaskFormer's and the auxiliary losses, and each of them for the log."""
        targets = MaskTargets.from_labels(batch["labels"])
        features = self.network.backbone(self.normalise(batch["image"]))
        mask_features = self.network.sem_seg_head.pixel_decoder(features)
        with torch.autocast(mask_features.device.type, enabled=False):
            res5, mask_features = features[-1].float(), mask_features.float()
            losses = self.query_losses(res5, mask_features, targets)
            losses |= self.auxiliary_losses(mask_features, batch["labels"], targets)
        return sum(losses.values()), {name: loss.detach() for name, loss in losses.items()}

    def query_losses(self, res5: Tensor, mask_features: Tensor, targets: MaskTargets) -> dict[str, Tensor]:
        """Return MaskFormer's losses, summed over all decoder layers."""
        predictor = self.network.sem_seg_head.predictor
        query_embed = predictor.query_embed.weight.expand(len(res5), -1, -1)
        content = torch.stack(predictor.decode(res5, query_embed))
        outputs = QueryOutputs(predictor.class_embed(content), predictor.mask_embed(content))
        logits = class_logits(
            outputs.class_embeddings,
            self.text_embeddings,
            self.network.non_object_embedding,
            self.logit_scale,
        )
        some = self.choose_pixels(targets)
        return set_losses(outputs, logits, mask_features.flatten(2)[..., some], targets.at(some))

    def choose_pixels(self, targets: MaskTargets) -> Tensor:
        """Return random pixels on which masks are compared: int64 (p,), the same in all images of a batch."""
        order = torch.randperm(targets.masks.shape[2], device=targets.masks.device)
        return order[: self.preset.mask_pixels]

    def auxiliary_losses(
        self, mask_features: Tensor, labels: Tensor, targets: MaskTargets
    ) -> dict[str, Tensor]:
        """Return the auxiliary losses of training from random weights."""
        losses = {}
        if self.pixel_head is not None:
            losses["pixels"] = self.preset.pixel_weight * self.name_pixels(mask_features, labels, targets)
        if self.preset.pair_weight:
            losses["pairs"] = self.preset.pair_weight * pair_loss(mask_features, labels)
        return losses

    def normalise(self, images: Tensor) -> Tensor:
        """Return the network's input, float32 (B, 3, H, W), for uint8 RGB images of the same shape."""
        pixels = (images.float() - self.pixel_mean) / self.pixel_std
        return pixels.contiguous(memory_format=torch.channels_last)

    def name_pixels(self, mask_features: Tensor, labels: Tensor, targets: MaskTargets) -> Tensor:
        """Return the cross-entropy (scalar) of the classes of random pixels, equally many of each class."""
        chosen = sample_pixels(targets, _PIXELS_PER_IMAGE)
        flat = mask_features.flatten(2).transpose(1, 2)
        sampled = flat.gather(1, chosen[..., None].expand(-1, -1, flat.shape[2]))
        wanted = labels.flatten(1).gather(1, chosen)
        # Without valid pixels the sum is 0, where a mean would be NaN.
        entropy = F.cross_entropy(
            self.pixel_head(sampled).flatten(0, 1).float(), wanted.flatten(), ignore_index=-1, reduction="sum"
        )
        return entropy / max(1, int((wanted >= 0).sum()))

    @cached_property
    def validation_set(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The validation images, made on first use."""
        return self.images.validation(self.preset.validation_images)

    @override
    def evaluate(self) -> dict[str, float]:
        """Return figures in per cent on validation images; see :func:`mask_figures`."""
        preset = self.preset
        generator = MaskFormerProposalGenerator(
            self.network,
            min_size=preset.min_size,
            max_size=preset.max_size,
            mask_threshold=preset.mask_threshold,
            runtime=Runtime(self.pixel_mean.device),
        )
        text = self.text_embeddings.cpu().numpy()
        with torch.autocast(self.pixel_mean.device.type, enabled=False):  # as in inference
            return mask_figures(generator, self.validation_set, self.images.class_names, text)

    @override
    def save(self, path: Path) -> None:
        """Write a full checkpoint in half precision: MaskFormer under published names, and CLIP as it was."""
        clip = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in self.clip_tensors.items()}
        tensors = published_tensors(self.network) | clip
        half = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
        }
        save_atomically({"model": {name: tensor.cpu().contiguous() for name, tensor in half.items()}}, path)


def _make_contiguous(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """Return a contiguous input: on a CPU, channels last makes group norm's gradient thirty times slower."""
    return (inputs[0].contiguous(),)


def embed_class_names(clip_tensors: dict[str, Tensor], class_names: tuple[str, ...]) -> np.ndarray:
    """Return CLIP's text embeddings of class names with the "vild" templates: float32 (K, D), unit length."""
    clip = MaskAdaptedClip.from_tensors(clip_tensors, runtime=Runtime(torch.device("cpu")))
    return clip.embed_names(class_names, "vild")
