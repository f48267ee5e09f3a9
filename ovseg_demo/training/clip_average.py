"""``train average``: the mean of two fine-tunings of one CLIP (model soups, Wortsman et al. 2022)."""

from __future__ import annotations

from pathlib import Path

from ovseg_demo.errors import CheckpointError, ModelError
from ovseg_demo.training.clip_weights import load_clip, mean_weights, save_clip
from ovseg_demo.training.loop import WEIGHTS_FILE
from ovseg_demo.training.options import TrainOptions


def train(options: TrainOptions) -> Path:
    """Average two image towers: ``options.share`` of that of ``options.init``, the rest of ``options.clip``.

    Everything else is that of ``options.clip``, without mask prompts: they fit the tower they were tuned on.

    Returns:
        The weights file, where fine-tuning would leave it.

    Raises:
        ModelError: one of the two is not given, or the share is not between 0 and 1.
        CheckpointError: their architectures differ.
    """
    if not (options.init and options.clip):
        raise ModelError("`train average` needs two weights files: --init and --clip.")
    if not 0 <= options.share <= 1:
        raise ModelError(f"--share is {options.share:g}, but a share of a mean lies between 0 and 1.")
    first, second = (load_clip(path)[0] for path in (options.init, options.clip))
    shapes = [[weight.shape for weight in clip.visual.parameters()] for clip in (first, second)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"{options.init} and {options.clip} hold image towers of different sizes, which have no mean."
        )
    second.visual = mean_weights(first.visual, second.visual, options.share)
    weights = options.folder("finetune") / WEIGHTS_FILE
    save_clip(weights, second)
    return weights
