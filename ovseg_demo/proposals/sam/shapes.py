"""Tensor shapes by name, as the readers of sizes need them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ovseg_demo.errors import CheckpointError


class Shapes(dict[str, tuple[int, ...]]):
    """Shapes of a Segment Anything checkpoint's tensors.

    A missing name raises a :class:`.CheckpointError` that names it in full.
    """

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = ""):
        """Take the shapes of the tensors below ``prefix``, which is removed from their names."""
        super().__init__(
            {
                name.removeprefix(prefix): tuple(tensor.shape)
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
        )
        self._prefix = prefix

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise self._lacks(name)

    def indexes(self, prefix: str) -> list[int]:
        """The numbers of the numbered modules below a name, in order; there may be none."""
        numbered = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return sorted({int(match[1]) for match in map(numbered.match, self) if match})

    def count(self, prefix: str) -> int:
        """How many numbered modules there are below a name; at least one."""
        found = self.indexes(prefix)
        if not found:
            raise self._lacks(prefix)
        return len(found)

    def _lacks(self, name: str) -> CheckpointError:
        return CheckpointError(
            f'These are no weights of a Segment Anything model: "{self._prefix}{name}" is missing. Expected '
            "are the names of segment-anything (as in sam_vit_b_01ec64.pth), MobileSAM, RepViT-SAM or "
            "EfficientViT-SAM."
        )
