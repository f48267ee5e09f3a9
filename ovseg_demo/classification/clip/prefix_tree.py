"""Trees of texts with common beginnings; a causal text tower computes each beginning only once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class PrefixTree:
    """A tree of tokens, in which each path from the root is the beginning of one or more texts.

    Attributes:
        texts: the indices of the texts, in the order in which they were added.
        ids: the token id of each node.
        parents: the parent of each node; -1 for the first token of a text.
        ends: the node of each text's last token.
    """

    texts: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, index: int, text: Sequence[int]) -> None:
        """Add a text of at least one token id; a beginning that earlier texts have is not added again."""
        node = -1
        for token in text:
            parent, node = node, self._children.setdefault((node, token), len(self.ids))
            if node == len(self.ids):
                self.ids.append(token)
                self.parents.append(parent)
        self.texts.append(index)
        self.ends.append(node)

    def __len__(self) -> int:
        return len(self.ids)

    def visible(self) -> Tensor:
        """Return the nodes that each node attends to, itself and its ancestors: bool (nodes, nodes)."""
        visible = torch.eye(len(self), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                visible[node] |= visible[parent]
        return visible


def grow_trees(texts: Sequence[Sequence[int]], max_nodes: int) -> Iterator[PrefixTree]:
    """Yield trees of about ``max_nodes`` nodes that together hold all texts, added in sorted order."""
    tree = PrefixTree()
    for index in sorted(range(len(texts)), key=lambda index: tuple(texts[index])):
        if len(tree) and len(tree) + len(texts[index]) > max_nodes:
            yield tree
            tree = PrefixTree()
        tree.add(index, texts[index])
    if len(tree):
        yield tree
