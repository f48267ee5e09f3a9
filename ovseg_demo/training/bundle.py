"""Last step, ``train bundle``: put the trained parts together in the published file formats.

``sticker_world_ovseg.pth`` is a full OVSeg checkpoint (MaskFormer, the fine-tuned CLIP and its mask prompts),
``sticker_world_sam.pth`` is Segment Anything's, ``sticker_world_clip.pth`` the CLIP before it was adapted.
Copied to ``weights/sticker-world/`` they are the model "sticker-world" that the program ships.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.training.loop import WEIGHTS_FILE, save_atomically
from ovseg_demo.training.options import TrainOptions


def train(options: TrainOptions) -> Path:
    """Read what the other steps left in ``options.out``; returns the folder with the three files.

    Raises:
        CheckpointError: a step has left no weights yet.
    """
    folder = options.folder("bundle")
    adapted = read_checkpoint(_weights(options, "mask-prompts")).clip()
    proposer = read_checkpoint(_weights(options, "maskformer"), CheckpointKind.OVSEG).maskformer()
    sam = read_checkpoint(_weights(options, "sam"), CheckpointKind.SAM).sam()
    unadapted = read_checkpoint(_weights(options, "clip"), CheckpointKind.CLIP).clip()
    save_atomically({"model": _full_checkpoint(proposer, adapted)}, folder / "sticker_world_ovseg.pth")
    save_atomically(_rounded(sam), folder / "sticker_world_sam.pth")
    save_atomically(_rounded(unadapted), folder / "sticker_world_clip.pth")
    return folder


def _weights(options: TrainOptions, step: str) -> Path:
    return options.out / step / WEIGHTS_FILE


def _full_checkpoint(proposer: dict[str, Tensor], clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """MaskFormer's and CLIP's tensors under the names of a full OVSeg file."""
    proposer = dict(proposer)
    non_object = {"clip_adapter.non_object_embedding": proposer.pop("non_object_embedding")}
    adapter = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in clip.items()}
    return _rounded(proposer | non_object | adapter)


def _rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """In bfloat16, in which CLIP computes on most machines, and which git compresses better than float16."""
    return {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
