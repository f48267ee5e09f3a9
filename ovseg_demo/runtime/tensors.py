"""Read sizes off the shapes of a checkpoint's tensors, and check that the tensors fit a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ovseg_demo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


class Shapes(dict[str, tuple[int, ...]]):
    """The shapes of tensors by name. A name that is missing raises a :class:`.CheckpointError`.

    Args:
        tensors: a checkpoint's tensors.
        what: the network that they should belong to, with its article: "a CLIP".
        hint: sentence that ends the message about a missing name.
        prefix: only tensors below it are taken; it is removed from their names.
    """

    def __init__(self, tensors: Mapping[str, Tensor], what: str, *, hint: str = "", prefix: str = ""):
        below = tensors_below(tensors, prefix)
        super().__init__({name: tuple(tensor.shape) for name, tensor in below.items()})
        self._what, self._hint, self._prefix = what, hint, prefix

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise self._lacks(name)

    def indexes(self, prefix: str) -> list[int]:
        """Return the numbers i of the names ``prefix.i.…`` in ascending order; there may be none."""
        numbered = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return sorted({int(match[1]) for match in map(numbered.match, self) if match})

    def count(self, prefix: str) -> int:
        """Return how many modules ``prefix.0``, ``prefix.1``, … there are: at least one.

        Raises:
            CheckpointError: there is none.
        """
        indexes = self.indexes(prefix)
        if not indexes:
            raise self._lacks(prefix)
        return len(indexes)

    def _lacks(self, name: str) -> CheckpointError:
        hint = f" {self._hint}" if self._hint else ""
        return CheckpointError(
            f'These are not the weights of {self._what}: "{self._prefix}{name}" is missing.{hint}'
        )


def tensors_below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, under their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def check_names_and_shapes(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Check that tensors have the names and shapes of a network's own.

    Args:
        expected: the network's tensors; they may be on the meta device.
        given: the tensors to check.
        what: the network with its article, as the message names it: "a CLIP".

    Raises:
        CheckpointError: tensors are missing, unexpected, or of another shape. The message names the first.
    """
    missing = [name for name in expected if name not in given]
    unexpected = [name for name in given if name not in expected]
    misshapen = [name for name in expected if name in given and given[name].shape != expected[name].shape]
    problems = [
        f'"{names[0]}"{_and_more(names)} is {fault}'
        for names, fault in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    if misshapen:
        first = misshapen[0]
        problems.append(
            f'"{first}"{_and_more(misshapen)} has the shape {tuple(given[first].shape)} '
            f"where the others ask for {tuple(expected[first].shape)}"
        )
    if problems:
        raise CheckpointError(
            f"These tensors do not make up {what}: {'; '.join(problems)}. "
            "Check that the file is complete and of one model."
        )


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
