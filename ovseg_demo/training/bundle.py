"""The stage "bundle": combine the trained parts to files in the published formats.

``sticker_world_ovseg.pth`` is a full OVSeg checkpoint (MaskFormer, the fine-tuned CLIP and its mask prompts),
``sticker_world_sam.pth`` is Segment Anything's, ``sticker_world_clip.pth`` the CLIP before it was adapted.
Its text tower is that of the first file, and is stored there only.
In ``weights/sticker-world/`` these files are the bundled model "sticker-world".
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.shared_tensors import SharedTensors, with_shared
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.options import BundleOptions


def train(options: BundleOptions) -> Path:
    """Combine the weights of the other stages in ``options.out``; returns the folder of the three files.

    Raises:
        CheckpointError: the weights of a stage are missing.
    """
    folder = options.folder
    adapted = read_checkpoint(options.weights_of("mask-prompts")).clip()
    proposer = read_checkpoint(options.weights_of("maskformer"), CheckpointKind.OVSEG).maskformer()
    sam = read_checkpoint(options.weights_of("sam"), CheckpointKind.SAM).sam()
    unadapted = read_checkpoint(options.weights_of("clip"), CheckpointKind.CLIP).clip()
    save_atomically({"model": _full_checkpoint(proposer, adapted)}, folder / "sticker_world_ovseg.pth")
    save_atomically(_rounded(sam), folder / "sticker_world_sam.pth")
    save_atomically(share_equal_parts(unadapted, adapted), folder / "sticker_world_clip.pth")
    return folder


def share_equal_parts(
    unadapted: dict[str, Tensor], adapted: dict[str, Tensor], file: str = "sticker_world_ovseg.pth"
) -> dict[str, object]:
    """Return the un-adapted CLIP as a file's content, without the parts that the adapted one has as well.

    Parts are what the tensors' names begin with: "visual", "transformer", "token_embedding" …

    Args:
        unadapted: tensors of the CLIP before it was adapted.
        adapted: tensors of the other one.
        file: the full OVSeg checkpoint with the other one.
    """
    unadapted, adapted = _rounded(unadapted), _rounded(adapted)
    different = {
        _part(name)
        for name, tensor in unadapted.items()
        if name not in adapted or not torch.equal(tensor, adapted[name])
    }
    equal = dict.fromkeys(_part(name) for name in unadapted if _part(name) not in different)
    return with_shared(
        unadapted, [SharedTensors(file, f"clip_adapter.clip_model.{part}", part) for part in equal]
    )


def _part(name: str) -> str:
    return name.partition(".")[0]


def _full_checkpoint(proposer: dict[str, Tensor], clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return MaskFormer's and CLIP's tensors under the names of a full OVSeg checkpoint, in bfloat16."""
    proposer = dict(proposer)
    non_object = {"clip_adapter.non_object_embedding": proposer.pop("non_object_embedding")}
    adapter = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in clip.items()}
    return _rounded(proposer | non_object | adapter)


def _rounded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, floating-point ones in bfloat16, which git compresses better than float16."""
    return {
        name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }
