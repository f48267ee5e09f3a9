"""The stage "bundle": the bundled model for photographs, from the weights of the other stages.

``weights/photo-mini/`` holds a CLIP in open_clip's layout, ``photo_mini_sam.pth``, and
``photo_mini_maskformer.pth``, which takes its trunk from the former.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.shared_tensors import SharedTensors, with_shared
from ovseg_demo.training.files import save_atomically

SAM_FILE = "photo_mini_sam.pth"
MASKFORMER_FILE = "photo_mini_maskformer.pth"
CLIP_FILES = ("open_clip_config.json", "open_clip_model.safetensors")

TRUNK = SharedTensors(SAM_FILE, "image_encoder.trunk.", "backbone.trunk.")


def bundle(sam: Path, clip: Path, maskformer: Path, folder: Path) -> Path:
    """Write the files of the bundled model; returns their folder.

    Args:
        sam: weights of the stage "sam".
        clip: folder of the stage "clip".
        maskformer: weights of the stage "maskformer", trained with this ``sam``.
        folder: for the files; it is made if needed.

    Raises:
        CheckpointError: a file is missing, or the MaskFormer's trunk is not that of ``sam``.
    """
    content = share_trunk(sam, maskformer)
    for name in CLIP_FILES:
        if not (clip / name).is_file():
            raise CheckpointError(
                f'There is no {name} in {clip}; name the folder of the stage "clip" with --clip.'
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIP_FILES:
        shutil.copyfile(clip / name, folder / name)
    shutil.copyfile(sam, folder / SAM_FILE)
    save_atomically(content, folder / MASKFORMER_FILE)
    return folder


def share_trunk(sam: Path, maskformer: Path) -> dict[str, object]:
    """Return the content of the MaskFormer's file, without the trunk that the Segment Anything has.

    Raises:
        CheckpointError: the trunks differ.
    """
    tensors = read_checkpoint(maskformer, CheckpointKind.OVSEG).tensors
    trunk = TRUNK.take(maskformer, read_checkpoint(sam, CheckpointKind.SAM).tensors)
    if any(name not in tensors or not torch.equal(tensor, tensors[name]) for name, tensor in trunk.items()):
        raise CheckpointError(
            f'"{maskformer}" has another trunk than "{sam}"; give the one that it was trained with.'
        )
    return with_shared({name: tensor.clone() for name, tensor in tensors.items()}, [TRUNK])
