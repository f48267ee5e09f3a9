"""Tensor shapes of a Segment Anything checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ovseg_demo.runtime import tensors as checkpoints


class Shapes(checkpoints.Shapes):
    """Shapes by name; the error of a missing name lists the packages whose names are expected."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = ""):
        """Take the shapes of the tensors below ``prefix``, which is removed from their names."""
        super().__init__(
            tensors,
            "a Segment Anything model",
            hint=(
                "The names of segment-anything (as in sam_vit_b_01ec64.pth), MobileSAM, RepViT-SAM or "
                "EfficientViT-SAM are expected."
            ),
            prefix=prefix,
        )
