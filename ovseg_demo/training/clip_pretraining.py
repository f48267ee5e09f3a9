"""The stage "clip": contrastive pre-training of a small CLIP, which replaces OpenAI's.

It trains on captions of whole scenes and of unmasked crops, and uses no masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import encode_regions, encode_tokens
from ovseg_demo.runtime.tensors import check_names_and_shapes
from ovseg_demo.training.clip_validation import ValidationSet, classification_figures, make_validation_set
from ovseg_demo.training.clip_weights import fast_training_attention, load_clip, new_clip, save_clip
from ovseg_demo.training.contrastive import contrastive_loss, gather_features, gather_labels, token_loss
from ovseg_demo.training.crops import CaptionedCrops, CaptionedImage
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.options import ClipOptions
from ovseg_demo.training.pixels import normalise
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.presets.types import ClipPretraining
from ovseg_demo.training.task import TrainingTask

MAX_LOGIT_SCALE = 100.0
"""Largest factor of the similarities in training, as CLIP's; inference always uses 100."""

_SCALE_RATE = 10.0
"""Factor of the learning rate for the scalar ``logit_scale``, which would else not reach its limit."""


def train(options: ClipOptions) -> Path:
    """Pre-train a CLIP; returns the weights file."""
    preset = find_settings(options.preset, "clip")
    torch.manual_seed(options.seed)
    images = options.out / "data" / f"captioned-{preset.images}.bin"
    task = ClipPretrainingTask(preset, images, options.seed)
    if options.init:
        tensors = load_clip(options.init)[0].state_dict()
        check_names_and_shapes(task.clip.state_dict(), tensors, f"the CLIP of the preset {options.preset}")
        task.clip.load_state_dict(tensors)
    loop = options.apply_to(preset.loop)
    return run_training(task, loop, options.folder, options.runtime(), options.choices())


class ClipPretrainingTask(TrainingTask):
    """CLIP's loss on captioned images, and the loss of a head that predicts tokens and is not saved."""

    def __init__(self, preset: ClipPretraining, images: Path, seed: int):
        super().__init__()
        self.preset, self.images, self.seed = preset, images, seed
        self.clip = new_clip(preset.size)
        self.token_head = nn.Linear(preset.size.embed_dim, preset.size.vocabulary)
        self.kept_patches = preset.kept_patches
        self.tokenizer = Tokenizer(preset.size.vocabulary, preset.size.context_length)

    @override
    def parameter_groups(self) -> list[dict]:
        """Return the groups of all parameters; the scale has one of its own, without weight decay."""
        scale, rate = self.clip.logit_scale, self.preset.learning_rate
        towers = decay_groups(
            self,
            rate,
            self.preset.weight_decay,
            without=[scale],
            muon_lr=self.preset.muon_learning_rate,
            muon_without=[self.token_head],
        )
        return [*towers, {"params": [scale], "lr": _SCALE_RATE * rate, "weight_decay": 0.0}]

    @override
    def dataset(self) -> Dataset:
        """Return an endless stream of captioned crops."""
        return CaptionedCrops(self.images, self.preset.images, self.preset.size.image_size, self.seed)

    @override
    def collate(self, samples: Sequence[CaptionedImage]) -> dict[str, Tensor]:
        """Return uint8 ``images`` (B, S, S, 3), ``token_ids`` (B, L) and ``labels`` (B, 3), both int64."""
        token_ids = self.tokenizer([sample.caption for sample in samples])
        longest = int(token_ids.argmax(dim=1).max()) + 1  # exact: attention is causal
        labels = [(sample.label, sample.colour, sample.said_colour) for sample in samples]
        return {
            "images": torch.stack([torch.from_numpy(sample.image) for sample in samples]),
            "token_ids": token_ids[:, :longest],
            "labels": torch.tensor(labels),
        }

    @override
    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the contrastive plus the weighted token loss, and both and the scale for the log."""
        token_ids = batch["token_ids"]
        with fast_training_attention(token_ids.device):
            images = encode_patches(self.clip, normalise(batch["images"]), self.kept_patches)
            texts = encode_tokens(self.clip, token_ids)
        true = true_texts(gather_labels(batch["labels"]))
        scale = self.clip.logit_scale.exp()
        contrastive = contrastive_loss(gather_features(images), gather_features(texts), true, scale)
        special = (0, self.tokenizer.start, self.tokenizer.end)
        words = token_loss(self.token_head(images), token_ids, special)
        loss = contrastive + self.preset.token_loss_weight * words
        return loss, {"contrastive": contrastive.detach(), "tokens": words.detach(), "scale": scale.detach()}

    @override
    def before_step(self, progress: float) -> None:
        """Choose which share of an image's patches is read: all of them towards the end of the schedule."""
        self.kept_patches = self.preset.kept_patches if progress < self.preset.all_patches_from else 1.0

    @override
    @torch.no_grad()
    def after_step(self) -> None:
        """Limit the scale of the logits to its maximum."""
        self.clip.logit_scale.clamp_(max=torch.tensor(MAX_LOGIT_SCALE).log().item())

    @cached_property
    def validation_set(self) -> ValidationSet:
        """The validation set, drawn on first use."""
        preset = self.preset
        return make_validation_set(
            preset.validation_scenes,
            preset.validation_crops,
            preset.crops_per_unseen_pair,
            preset.size.image_size,
        )

    @override
    def evaluate(self) -> dict[str, float]:
        """Return top-1 accuracies in per cent; see :func:`classification_figures`."""
        return classification_figures(self.clip, self.tokenizer, self.validation_set)

    @override
    def save(self, path: Path) -> None:
        """Write CLIP in the published format, without the head that predicts tokens."""
        save_clip(path, self.clip)


def encode_patches(clip: CLIP, images: Tensor, share: float) -> Tensor:
    """Return image features (B, E) from a random share of the patches of normalised images (B, 3, S, S)."""
    if share == 1.0:
        return encode_regions(clip, None, images, None)
    visual = clip.visual
    positions = visual.positional_embedding
    patches = visual.conv1(images).flatten(2).transpose(1, 2) + positions[1:]  # (B, G², C)
    count = round(share * patches.shape[1])
    kept = torch.rand(patches.shape[:2], device=images.device).argsort(dim=1)[:, :count, None]
    patches = patches.gather(1, kept.expand(-1, -1, patches.shape[2]))
    class_token = (visual.class_embedding + positions[0]).expand(len(images), 1, -1)
    tokens = visual.ln_pre(torch.cat([class_token, patches], dim=1))
    for block in visual.transformer.resblocks:
        tokens = block(tokens)
    return visual.ln_post(tokens[:, 0]) @ visual.proj


def true_texts(labels: Tensor) -> Tensor:
    """Return whether text j is true of image i, bool (B, B), from rows (class, colour, colour in the text).

    A text is true if it names the class and no other colour. Class -1, a whole scene, equals no other one.
    """
    label, colour, said = labels.unbind(dim=1)
    same_class = (label[:, None] == label) & (label >= 0)
    return same_class & ((said == -1) | (said == colour[:, None]))
