"""Texts merged by their beginnings: nothing is lost, nothing is done twice."""

from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.classification.clip.prefix_tree import PrefixTree, grow_trees

texts = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), max_size=12)


def read(tree: PrefixTree, node: int) -> list[int]:
    """The text that ends at a node."""
    found = []
    while node >= 0:
        found.insert(0, tree.ids[node])
        node = tree.parents[node]
    return found


def test_a_common_beginning_is_kept_once():
    (tree,) = grow_trees([[1, 2, 3, 9], [1, 2, 4, 9], [5, 9]], max_nodes=99)
    assert sorted(tree.ids) == [1, 2, 3, 4, 5, 9, 9, 9]


@given(texts, st.integers(1, 40))
def test_every_text_is_read_back(texts, max_nodes):
    trees = list(grow_trees(texts, max_nodes))
    found = {text: read(tree, end) for tree in trees for text, end in zip(tree.texts, tree.ends, strict=True)}
    assert found == dict(enumerate(texts))


@given(texts)
def test_a_tree_has_a_node_for_each_beginning(texts):
    beginnings = {tuple(text[:length]) for text in texts for length in range(1, len(text) + 1)}
    assert sum(len(tree) for tree in grow_trees(texts, max_nodes=10_000)) == len(beginnings)


@given(texts, st.integers(1, 40))
def test_trees_are_no_larger_than_asked_for_or_than_one_text(texts, max_nodes):
    for tree in grow_trees(texts, max_nodes):
        assert len(tree) <= max(max_nodes, max(map(len, texts)))


@given(texts)
def test_a_node_sees_its_own_beginning_alone(texts):
    for tree in grow_trees(texts, max_nodes=20):
        visible = tree.visible()
        for node in range(len(tree)):
            seen = visible[node].nonzero().flatten().tolist()
            assert [tree.ids[other] for other in seen] == read(tree, node)
