"""The kinds of checkpoints; apart from what reads them, so that the catalogue needs no torch."""

from __future__ import annotations

from enum import Enum


class CheckpointKind(Enum):
    """What a weights file holds; the value is how messages name it."""

    OVSEG = "an OVSeg or SimSeg checkpoint (MaskFormer and CLIP together)"
    CLIP = "a CLIP checkpoint"
    SAM = "a Segment Anything checkpoint"
