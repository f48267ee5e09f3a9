"""Texts that begin alike, merged: a causal text tower computes a beginning once, whatever follows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class PrefixTree:
    """Texts as a tree of tokens, in which a path from the root is the beginning of one or more texts.

    Attributes:
        texts: indices of the texts, in the order in which they were added.
        ids: token id of each node.
        parents: node before each node; -1 for the first token of a text.
        ends: node of each text's last token.
    """

    texts: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, index: int, text: Sequence[int]) -> None:
        """Add a text, token ids with at least one; what it shares with earlier ones is not added again."""
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
        """Which nodes each node may attend to, itself and those before it: bool (nodes, nodes)."""
        visible = torch.eye(len(self), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                visible[node] |= visible[parent]
        return visible


def grow_trees(texts: Sequence[Sequence[int]], max_nodes: int) -> Iterator[PrefixTree]:
    """Put all texts into trees of about ``max_nodes`` nodes; those that begin alike come together."""
    tree = PrefixTree()
    for index in sorted(range(len(texts)), key=lambda index: tuple(texts[index])):
        if len(tree) and len(tree) + len(texts[index]) > max_nodes:
            yield tree
            tree = PrefixTree()
        tree.add(index, texts[index])
    if len(tree):
        yield tree
