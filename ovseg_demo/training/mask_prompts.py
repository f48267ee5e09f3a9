"""Step 6, ``train mask-prompts``: learned tokens for blank patches; all of CLIP's own weights are frozen.

On the pre-trained CLIP (``--init runs/clip/weights.pt``) it is the cheap adaptation, on the fine-tuned one
(the default) it adds to it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from typing_extensions import override

from ovseg_demo.classification.towers import encode_regions
from ovseg_demo.training.clip_finetuning import FinetuningTask
from ovseg_demo.training.clip_weights import save_clip
from ovseg_demo.training.loop import WEIGHTS_FILE, run_training
from ovseg_demo.training.options import TrainOptions
from ovseg_demo.training.pixels import normalise
from ovseg_demo.training.presets import MaskPromptTuning, find_settings


def train(options: TrainOptions) -> Path:
    """Tune the prompts; returns the weights file, the whole CLIP with them."""
    preset = find_settings(options.preset, "mask_prompts")
    torch.manual_seed(options.seed)
    pairs = options.pairs or options.out / "pairs"
    init = options.init or options.out / "finetune" / WEIGHTS_FILE
    task = MaskPromptTask(preset, init, pairs, options.seed)
    return run_training(
        task, options.apply_to(preset.loop), options.folder("mask-prompts"), options.runtime()
    )


class MaskPromptTask(FinetuningTask):
    """Fine-tuning's loss on masked regions, of which only the mask prompts (D, G², C) learn.

    New prompts start at zero: what a blank patch's embedding is.
    """

    def __init__(self, preset: MaskPromptTuning, init: Path, pairs: Path, seed: int):
        super().__init__(preset, init, pairs, seed, unmasked_share=0.0)
        self.clip.requires_grad_(False)
        positions, width = self.clip.visual.positional_embedding.shape
        new = torch.zeros(preset.depth, positions - 1, width)
        self.mask_embedding = nn.Parameter(new if self.given_prompts is None else self.given_prompts)

    @override
    def parameter_groups(self) -> list[dict]:
        return [{"params": [self.mask_embedding], "lr": self.preset.learning_rate, "weight_decay": 0.0}]

    @override
    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        return self.encode_masked(normalise(batch["masked"]), batch["masks"][:, None].float())

    @override
    def encode_masked(self, regions: Tensor, masks: Tensor) -> Tensor:
        return encode_regions(self.clip, self.mask_embedding, regions, masks)

    @override
    def save(self, path: Path) -> None:
        save_clip(path, self.clip, self.mask_embedding)
