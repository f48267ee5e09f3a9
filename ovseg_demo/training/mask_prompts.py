"""The stage "mask-prompts": train tokens that replace blank patches of a frozen CLIP (OVSeg, section 3.3).

It adapts the pre-trained CLIP (``--init runs/clip/weights.pt``), or adapts the fine-tuned one further (the
default).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from open_clip.model import CLIP
from torch import Tensor, nn
from typing_extensions import override

from ovseg_demo.classification.clip.towers import encode_regions, patches_with_foreground
from ovseg_demo.errors import ModelError
from ovseg_demo.training.clip_finetuning import FinetuningTask, find_adaptation
from ovseg_demo.training.clip_weights import save_clip
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.options import MaskPromptOptions
from ovseg_demo.training.pair_regions import collate_regions
from ovseg_demo.training.pairs_format import PAIRS_FILE
from ovseg_demo.training.pixels import normalise
from ovseg_demo.training.presets.types import MaskPromptTuning

_FIRST_REGIONS = 512


def train(options: MaskPromptOptions) -> Path:
    """Train mask prompts; returns the weights file, which holds the whole CLIP with them."""
    preset = find_adaptation(options, "mask_prompts")
    if options.depth is not None:
        preset = replace(preset, depth=options.depth)
    torch.manual_seed(options.seed)
    pairs = options.pairs or options.out / "pairs"
    init = options.init or options.weights_of("finetune")
    task = MaskPromptTask(preset, init, pairs, options.seed)
    choices = options.choices(init=init, pairs=pairs / PAIRS_FILE)
    return run_training(task, preset.loop, options.folder, options.runtime(), choices)


class MaskPromptTask(FinetuningTask):
    """Fine-tuning's loss on masked regions; only the mask prompts (D, G², C) are trained.

    New prompts start as the mean of the tokens of the blank patches that they replace.
    """

    def __init__(self, preset: MaskPromptTuning, init: Path, pairs: Path, seed: int):
        super().__init__(preset, init, pairs, seed, unmasked_share=0.0, sure_share=preset.sure_share)
        self.clip.requires_grad_(False)
        prompts = self.given_prompts
        if prompts is None:
            layers = len(self.clip.visual.transformer.resblocks)
            if not 1 <= preset.depth <= layers:
                raise ModelError(
                    f"--depth is {preset.depth}; this image tower has 1 to {layers} layers for prompts."
                )
            first = [self.regions.plain(i) for i in range(min(_FIRST_REGIONS, self.regions.held_out.start))]
            batch = collate_regions(first)
            masks = batch["masks"][:, None].float()
            prompts = mean_blank_tokens(self.clip, preset.depth, normalise(batch["masked"]), masks)
        self.mask_embedding = nn.Parameter(prompts)

    @override
    def parameter_groups(self) -> list[dict]:
        """Return one group, for AdamW without weight decay: the mask prompts alone."""
        return [{"params": [self.mask_embedding], "lr": self.preset.learning_rate, "weight_decay": 0.0}]

    @override
    def encode(self, batch: dict[str, Tensor]) -> Tensor:
        """Return features (B, E) of the batch's masked regions with the mask prompts."""
        return self.encode_masked(normalise(batch["masked"]), batch["masks"][:, None].float())

    @override
    def encode_masked(self, regions: Tensor, masks: Tensor) -> Tensor:
        """Return features (B, E) of normalised masked regions, with mask prompts in their blank patches."""
        return encode_regions(self.clip, self.mask_embedding, regions, masks)

    @override
    def save(self, path: Path) -> None:
        """Write CLIP with the trained mask prompts."""
        save_clip(path, self.clip, self.mask_embedding)


@torch.no_grad()
def mean_blank_tokens(model: CLIP, depth: int, regions: Tensor, masks: Tensor) -> Tensor:
    """Return mean tokens of blank patches in CLIP without prompts: at its input, and after its first blocks.

    Args:
        model: the towers.
        depth: number D of layers with prompts.
        regions: float32 (B, 3, S, S), normalised, zero outside the masks.
        masks: float32 (B, 1, S, S) of zeros and ones.

    Returns:
        float32 (D, G², C). A patch that is blank in no region gets the mean of all blank patches.
    """
    visual = model.visual
    found: list[Tensor] = [visual.conv1(regions).flatten(2).mT]
    blocks = visual.transformer.resblocks[: depth - 1]
    hooks = [block.register_forward_hook(lambda *call: found.append(call[2][:, 1:])) for block in blocks]
    visual(regions)
    for hook in hooks:
        hook.remove()
    blank = ~patches_with_foreground(masks, visual.patch_size)  # (B, G²)
    tokens = torch.stack(found).float() * blank[..., None]  # (D, B, G², C)
    everywhere = tokens.sum(dim=(1, 2)) / blank.sum().clamp(min=1)
    times = blank.sum(dim=0)[:, None]  # (G², 1)
    return torch.where(times > 0, tokens.sum(dim=1) / times.clamp(min=1), everywhere[:, None])
