"""Embeddings of the shipped lists outlive the process; what users type does not."""

import logging
import os

import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache, cache_folder
from ovseg_demo.segmenter import Segmenter
from ovseg_demo.vocabularies.class_lists import load_vocabulary, shipped_lists
from ovseg_demo.vocabulary import Vocabulary
from tests.closed_folders import file_limit
from tests.test_segmenter import QuadrantGenerator, random_image
from tests.tiny.clip import tiny_clip_tensors

ANIMALS = frozenset({"dog", "cat", "bird"})
PLANTS = frozenset({"tree", "grass"})


def lists():
    return ANIMALS, PLANTS


def embeddings(names, seed=0):
    rows = np.random.default_rng(seed).normal(size=(len(names), 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return dict(zip(sorted(names), rows, strict=True))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        np.testing.assert_array_equal(found[name], row)


def count(folder):
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_whole_list_is_kept_for_the_next_process(tmp_path):
    expected = embeddings(ANIMALS)
    TextEmbeddingCache(lists, tmp_path).write("key", expected)
    assert_same(TextEmbeddingCache(lists, tmp_path).read("key", ANIMALS, ANIMALS), expected)


def test_names_beside_a_list_are_neither_kept_nor_in_the_way(tmp_path):
    files, typed = TextEmbeddingCache(lists, tmp_path), {"my aunt Mary", "tree"}
    files.write("key", embeddings(ANIMALS | typed))
    assert files.read("key", ANIMALS | typed, typed | ANIMALS).keys() == ANIMALS
    assert count(tmp_path) == 1
    assert b"Mary" not in next(tmp_path.iterdir()).read_bytes()


def test_parts_of_a_list_are_not_kept(tmp_path):
    TextEmbeddingCache(lists, tmp_path / "none").write("key", embeddings({"dog", "cat", "tree"}))
    assert not (tmp_path / "none").exists()


def test_a_folder_of_another_user_can_still_be_read(tmp_path, monkeypatch):
    expected = embeddings(ANIMALS)
    TextEmbeddingCache(lists, tmp_path).write("key", expected)

    def refuse(*arguments, **options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert_same(TextEmbeddingCache(lists, tmp_path).read("key", ANIMALS, ANIMALS), expected)


def test_a_full_disk_is_a_warning(tmp_path, caplog):
    """Files may have 10 bytes: the same error as on a full disk, from the library that writes them."""
    with file_limit(10), caplog.at_level(logging.WARNING):
        TextEmbeddingCache(lists, tmp_path).write("key", embeddings(ANIMALS))
    assert "cannot be kept" in caplog.text
    assert count(tmp_path) == 0


def test_a_list_that_is_known_is_not_read_again(tmp_path):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("key", embeddings(ANIMALS))
    assert files.read("key", ANIMALS | {"new"}, ["new"]) == {}


def test_other_weights_have_other_files(tmp_path):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("one", embeddings(ANIMALS))
    assert files.read("two", ANIMALS, ANIMALS) == {}
    files.write("two", embeddings(ANIMALS, seed=1))
    assert_same(files.read("one", ANIMALS, ANIMALS), embeddings(ANIMALS))


@pytest.mark.parametrize("damage", [b"", b"\x10\0\0\0\0\0\0\0 no json", b"half"])
def test_a_damaged_file_is_replaced(tmp_path, damage):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("key", embeddings(ANIMALS))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-8] if damage == b"half" else damage)
    assert files.read("key", ANIMALS, ANIMALS) == {}
    files.write("key", embeddings(ANIMALS))
    assert_same(files.read("key", ANIMALS, ANIMALS), embeddings(ANIMALS))


def test_means_of_unit_vectors_are_shorter_and_are_kept(tmp_path):
    files, means = (
        TextEmbeddingCache(lists, tmp_path),
        {name: 0.7 * one for name, one in embeddings(ANIMALS).items()},
    )
    files.write("key", means)
    assert_same(files.read("key", ANIMALS, ANIMALS), means)


@pytest.mark.parametrize("value", [0, 2])
def test_embeddings_of_no_length_or_a_great_one_are_not_believed(tmp_path, value):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("key", {name: np.full(4, value, np.float32) for name in ANIMALS})
    assert files.read("key", ANIMALS, ANIMALS) == {}


def test_embeddings_that_are_none_are_not_believed(tmp_path):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("key", {name: np.full(4, np.nan, np.float32) for name in ANIMALS})
    assert files.read("key", ANIMALS, ANIMALS) == {}


def test_the_oldest_make_room(tmp_path):
    files = TextEmbeddingCache(lists, tmp_path)
    files.write("a", embeddings(ANIMALS))
    (first,) = tmp_path.iterdir()
    os.utime(first, (0, 0))
    bounded = TextEmbeddingCache(lists, tmp_path, max_bytes=2 * first.stat().st_size)
    for key in "bc":
        bounded.write(key, embeddings(ANIMALS))
    assert count(tmp_path) == 2
    assert not first.exists()


def test_a_disk_that_cannot_be_written_to_is_warned_of(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    files = TextEmbeddingCache(lists, tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        files.write("key", embeddings(ANIMALS))
    assert "cannot be kept" in caplog.text


def test_the_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.delenv("OVSEG_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "ovseg-demo"
    monkeypatch.setenv("OVSEG_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_every_shipped_list_is_asked_for_by_its_own_name():
    names = ("ade20k-150", "ade20k-847", "coco-stuff-171")
    assert {frozenset(load_vocabulary(name).all_names) for name in names} <= set(shipped_lists())
    assert any("sky" in names and "wall-other" not in names for names in shipped_lists())


class TestInASegmenter:
    VOCABULARY = Vocabulary.parse(sorted(ANIMALS))

    @pytest.fixture
    def texts(self, monkeypatch):
        """The names that the text tower was asked for."""
        asked, embed = [], MaskAdaptedClip.embed_names

        def embed_names(clip, names, *rest, **options):
            asked.extend(names)
            return embed(clip, names, *rest, **options)

        monkeypatch.setattr(MaskAdaptedClip, "embed_names", embed_names)
        return asked

    def segment(self, folder, names=VOCABULARY, *, precision=torch.float32, templates=None, **sizes):
        clip = MaskAdaptedClip.from_tensors(
            tiny_clip_tensors(**sizes), runtime=Runtime(torch.device("cpu"), precision)
        )
        segmenter = Segmenter(
            {"sam": LazyModel(QuadrantGenerator)},
            LazyModel(lambda: clip),
            text_embedding_cache=TextEmbeddingCache(lists, folder),
        )
        return segmenter.segment(random_image(), names, templates=templates).probabilities

    def test_a_list_is_encoded_in_the_first_process_alone(self, tmp_path, texts):
        first, second = (self.segment(tmp_path) for _ in range(2))
        assert sorted(texts) == sorted(ANIMALS)
        np.testing.assert_array_equal(first, second)

    def test_what_is_typed_besides_is_encoded_again(self, tmp_path, texts):
        self.segment(tmp_path)
        texts.clear()
        self.segment(tmp_path, "dog, cat, unicorn, bird")
        assert texts == ["unicorn"]
        self.segment(tmp_path, "dog, cat")
        assert texts == ["unicorn", "dog", "cat"]

    def test_another_image_tower_shares_the_names_and_all_else_does_not(self, tmp_path, texts):
        self.segment(tmp_path)
        texts.clear()
        self.segment(tmp_path, mask_prompt_depth=0)
        assert texts == []
        for other in ({"seed": 1}, {"precision": torch.bfloat16}, {"templates": "photo"}):
            self.segment(tmp_path, **other)
            assert sorted(texts) == sorted(ANIMALS), other
            texts.clear()
