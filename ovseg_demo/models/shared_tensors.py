"""Tensors that a weights file takes from another file beside it, so that they are stored once.

A weights file ``{"model": …, "shared": […]}`` has an entry for each group of such tensors: the other file's
name, what their names begin with there, and what this becomes here. For example, the bundled MaskFormer for
photographs has no ``backbone.trunk.*``, and its entry names the ``image_encoder.trunk.*`` of
``photo_mini_sam.pth``. :func:`.checkpoints.read_checkpoint` completes every file that has entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ovseg_demo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = "shared"
"""The key of the entries in a weights file."""


@dataclass(frozen=True)
class SharedTensors:
    """A group of tensors that are in another file.

    Attributes:
        file: name of the other file, which lies in the same folder.
        prefix: what the tensors' names begin with there.
        as_prefix: what stands here instead of ``prefix``.
    """

    file: str
    prefix: str
    as_prefix: str

    @classmethod
    def read(cls, path: Path, content: object) -> list[Self]:
        """Return the entries of a file's content; most files have none.

        Raises:
            CheckpointError: an entry is malformed, or names a file in another folder.
        """
        entries = content.get(ENTRIES, []) if isinstance(content, Mapping) else []
        if not isinstance(entries, list):
            return []
        found = []
        for entry in entries:
            is_entry = isinstance(entry, dict) and entry.keys() == {"file", "prefix", "as_prefix"}
            if not is_entry or not all(isinstance(value, str) for value in entry.values()):
                raise CheckpointError(f'"{path}" has a damaged list of shared tensors; download it again.')
            if Path(entry["file"]).name != entry["file"] or entry["file"] in ("", ".", ".."):
                raise CheckpointError(
                    f'"{path}" shares tensors with "{entry["file"]}"; only a file in its own folder is read.'
                )
            found.append(cls(**entry))
        return found

    def take(self, path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the group from the other file's tensors, under the names that they have here.

        Args:
            path: of the file that lacks them, for messages.
            tensors: of the other file.

        Raises:
            CheckpointError: the other file has none of them.
        """
        group = {
            self.as_prefix + name.removeprefix(self.prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(self.prefix)
        }
        if not group:
            raise CheckpointError(
                f'"{path}" needs the tensors "{self.prefix}…" of "{path.with_name(self.file)}", which has '
                "none; use two files that belong together."
            )
        return group


def with_shared(tensors: Mapping[str, Tensor], shared: list[SharedTensors]) -> dict[str, object]:
    """Return the content of a weights file that takes some tensors from other files.

    Tensors of these groups among ``tensors`` are left out.
    """
    prefixes = tuple(group.as_prefix for group in shared)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}
    return {"model": own, ENTRIES: [asdict(group) for group in shared]}
