"""The stage "finetune": train CLIP's image tower on masked regions and their nouns (OVSeg, section 3.2).

The text tower is frozen. A share of the regions keeps its surroundings, so that the tower does not forget
unmasked images. With ``--unmasked`` all regions do: this control separates adaptation to masks from further
training. The saved weights may be a mean of the weights before and after (WiSE-FT, Wortsman et al. 2022): it
keeps most class names that the pairs do not contain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from typing_extensions import override

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import encode_regions
from ovseg_demo.classification.labeling import LOGIT_SCALE
from ovseg_demo.training.clip_validation import (
    ValidationSet,
    classification_figures,
    embed_texts,
    make_validation_set,
)
from ovseg_demo.training.clip_weights import fast_training_attention, load_clip, mean_weights, save_clip
from ovseg_demo.training.contrastive import contrastive_loss, gather_features, gather_labels
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.options import FinetuneOptions, MaskPromptOptions
from ovseg_demo.training.pair_regions import PairRegion, PairRegions, collate_regions
from ovseg_demo.training.pairs_format import PAIRS_FILE
from ovseg_demo.training.pixels import normalise
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.presets.types import ClipFinetuning
from ovseg_demo.training.task import TrainingTask

_BATCH = 256  # of held-out pairs


def train(options: FinetuneOptions) -> Path:
    """Fine-tune the image tower; returns the weights file."""
    preset = find_adaptation(options, "finetuning")
    torch.manual_seed(options.seed)
    pairs = options.pairs or options.out / "pairs"
    init = options.init or options.weights_of("clip")
    share = 1.0 if options.unmasked else preset.unmasked_share
    task = FinetuningTask(preset, init, pairs, options.seed, share, preset.kept_share)
    choices = options.choices(init=init, pairs=pairs / PAIRS_FILE)
    return run_training(task, preset.loop, options.folder, options.runtime(), choices)


def find_adaptation(options: FinetuneOptions | MaskPromptOptions, stage: str) -> Any:
    """Return the preset's settings of a stage that adapts CLIP, with the given options in their place."""
    preset = find_settings(options.preset, stage)
    among_all_nouns = preset.among_all_nouns and not options.contrastive
    return replace(preset, loop=options.apply_to(preset.loop), among_all_nouns=among_all_nouns)


class FinetuningTask(TrainingTask):
    """The contrastive loss over a batch of regions and their nouns; equal nouns are no negatives.

    With ``preset.among_all_nouns`` it is the cross-entropy of each region among all nouns of the pairs, at
    the temperature of classification, so that the trained probabilities are calibrated.
    """

    def __init__(
        self,
        preset: ClipFinetuning,
        init: Path,
        pairs: Path,
        seed: int,
        unmasked_share: float,
        kept_share: float = 0.0,
        sure_share: float = 0.0,
    ):
        super().__init__()
        self.preset = preset
        self.unmasked_share, self.kept_share = unmasked_share, kept_share
        self.clip, self.given_prompts = load_clip(init)
        self.clip.requires_grad_(False).visual.requires_grad_(True)
        # In a tuple, so that checkpoints leave it out.
        self.first_visual = (deepcopy(self.clip.visual),) if kept_share else ()
        self.tokenizer = Tokenizer(self.clip.vocab_size, self.clip.context_length)
        size = self.clip.visual.image_size[0]
        self.regions = PairRegions(pairs, size, seed, preset.keep_regions, preset.held_out_pairs, sure_share)

    @override
    def parameter_groups(self) -> list[dict]:
        """Return the groups of all trainable parameters; weight decay applies to matrices only."""
        return decay_groups(self, self.preset.learning_rate, self.preset.weight_decay)

    @override
    def dataset(self) -> Dataset:
        """Return an endless stream of all regions, after cutting those that are not stored yet."""
        self.regions.cut_all(self.preset.loop.workers)
        return self.regions

    @override
    def collate(self, samples: Sequence[PairRegion]) -> dict[str, Tensor]:
        """Return a batch of regions; see :func:`collate_regions`."""
        return collate_regions(samples)

    @override
    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, among all nouns or those of the batch, and no scalars for the log."""
        with fast_training_attention(batch["nouns"].device):
            features = self.encode(batch)
        if self.preset.among_all_nouns:
            logits = LOGIT_SCALE * F.normalize(features.float(), dim=-1) @ self.noun_embeddings.T
            return F.cross_entropy(logits, batch["nouns"]), {}
        features, nouns = gather_features(features), gather_labels(batch["nouns"])
        true = nouns[:, None] == nouns
        # The final temperature of pre-training; another one would first change the features to fit it.
        loss = contrastive_loss(features, self.noun_embeddings[nouns], true, self.clip.logit_scale.exp())
        return loss, {}

    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Return features (B, E) of the batch's regions.

        The first of them, a share of ``unmasked_share``, are unmasked.
        """
        unmasked = round(self.unmasked_share * len(batch["nouns"]))
        images = torch.cat([batch["unmasked"][:unmasked], batch["masked"][unmasked:]])
        return encode_regions(self.clip, None, normalise(images), None)

    def encode_masked(self, regions: Tensor, masks: Tensor) -> Tensor:
        """Return features (B, E) of normalised masked regions, as the classifier computes them."""
        return encode_regions(self.clip, None, regions, None)

    @cached_property
    @torch.no_grad()
    def noun_embeddings(self) -> Tensor:
        """Text embeddings of the pairs' nouns with the "vild" templates: float32 (nouns, E), constant."""
        with torch.autocast(self.clip.logit_scale.device.type, enabled=False):
            return embed_texts(self.clip, self.tokenizer, self.regions.nouns)

    @cached_property
    def validation_set(self) -> ValidationSet:
        """The validation set, drawn on first use."""
        preset = self.preset
        return make_validation_set(preset.validation_scenes, preset.validation_crops, 0, self.regions.size)

    @override
    def evaluate(self) -> dict[str, float]:
        """Return accuracies, in per cent, of the saved weights on held-out pairs and validation scenes."""
        figures = {}
        with self.saved_weights():
            if self.regions.held_out:
                figures["held_out_pairs"] = self._held_out_accuracy()
            if self.preset.validation_scenes:
                figures |= classification_figures(
                    self.clip, self.tokenizer, self.validation_set, self.encode_masked
                )
        return figures

    @contextmanager
    def saved_weights(self) -> Iterator[None]:
        """A context in which the image tower has the weights that are saved instead of the trained ones."""
        tuned = self.clip.visual
        for first in self.first_visual:
            self.clip.visual = mean_weights(first.to(tuned.proj.device), tuned, self.kept_share)
        try:
            yield
        finally:
            self.clip.visual = tuned

    def _held_out_accuracy(self) -> float:
        """Return the percentage of held-out pairs whose noun is the most similar one among all nouns."""
        right, device, numbers = 0, self.noun_embeddings.device, self.regions.held_out
        for start in range(0, len(numbers), _BATCH):
            batch = collate_regions(
                [self.regions.plain(number) for number in numbers[start : start + _BATCH]]
            )
            masks = batch["masks"][:, None].float().to(device)
            features = self.encode_masked(normalise(batch["masked"].to(device)), masks)
            found = (features.float() @ self.noun_embeddings.T).argmax(dim=1).cpu()
            right += int((found == batch["nouns"]).sum())
        return round(100 * right / len(numbers), 2)

    @override
    def save(self, path: Path) -> None:
        """Write CLIP with the weights that are saved, and the mask prompts that it came with, if any."""
        with self.saved_weights():
            save_clip(path, self.clip, self.given_prompts)
