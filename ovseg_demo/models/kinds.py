"""The kinds of checkpoints, in a module without torch, which the catalogue imports."""

from __future__ import annotations

from enum import Enum


class CheckpointKind(Enum):
    """The kind of model in a weights file; the value is its name in messages."""

    OVSEG = "an OVSeg or SimSeg checkpoint (MaskFormer and CLIP together)"
    CLIP = "a CLIP checkpoint"
    SAM = "a Segment Anything checkpoint"
    MASKCLIPPP = "a MaskCLIP++ checkpoint"
    TOKENIZER = "a tokenizer"
