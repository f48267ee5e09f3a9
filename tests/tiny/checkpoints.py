"""Checkpoint files of the tiny models, in the published formats: seconds to write, load and run."""

from pathlib import Path

import torch

from tests.tiny.clip import tiny_clip_tensors
from tests.tiny.maskformer import tiny_maskformer_tensors
from tests.tiny.sam import tiny_sam


def save_tiny_ovseg(path: Path, backbone: str = "swin") -> Path:
    """A full OVSeg checkpoint: MaskFormer, and a CLIP whose vocabulary is the published one.

    With the backbone "narrow" it takes a third of the time.
    """
    clip = tiny_clip_tensors(embedding_width=32, vocabulary_size=49408)
    prefixed = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in clip.items()}
    torch.save({"model": {**tiny_maskformer_tensors(backbone, embedding_width=32), **prefixed}}, path)
    return path


def save_tiny_sam(path: Path) -> Path:
    """A Segment Anything checkpoint."""
    torch.save(tiny_sam().state_dict(), path)
    return path
