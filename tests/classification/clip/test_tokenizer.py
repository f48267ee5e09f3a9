"""CLIP's byte pairs at any vocabulary size."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from ovseg_demo.classification.clip import tokenizer as tokenizer_module
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.errors import CheckpointError, VocabularyError

TEXTS = [
    "a photo of a dog.",
    "Saturn V",
    "  GREEN   dianthus ",
    "rock'n'roll",
    "crème brûlée",
    "犬",
    "🐕",
    "3.14",
    "",
]

reference = SimpleTokenizer()
full = Tokenizer(49408, 77)
small = Tokenizer(700, 77)
bytes_only = Tokenizer(514, 77)


def test_the_full_vocabulary_gives_open_clips_tokens():
    assert torch.equal(full(TEXTS), reference(TEXTS))
    assert (full.start, full.end) == (reference.sot_token_id, reference.eot_token_id)


@given(st.text(max_size=12))
def test_the_full_vocabulary_encodes_any_text_as_open_clip_does(text):
    assert full.encode(text) == reference.encode(text)


@given(st.text(max_size=12))
def test_a_small_vocabulary_spells_any_text(text):
    ids = small.encode(text)
    assert all(0 <= i < small.start for i in ids)
    # The first tokens of all vocabularies are the same, so the reference can read them.
    assert reference.decode(ids) == reference.decode(reference.encode(text))


@given(st.text(st.characters(max_codepoint=127), max_size=20))
def test_fewer_merges_never_make_a_text_shorter(text):
    lengths = [len(tokenizer.encode(text)) for tokenizer in (bytes_only, small, full)]
    assert lengths == sorted(lengths, reverse=True)


def test_without_merges_every_letter_is_a_token():
    assert len(bytes_only.encode("dog")) == 3
    assert bytes_only.encode("dog")[-1] >= 256  # the byte "g" at a word's end


def test_a_merge_is_known_from_its_own_row_on():
    first_merge = 512  # "i" and "n"
    assert first_merge in Tokenizer(515, 77).encode("bins")
    assert len(bytes_only.encode("bins")) == len(Tokenizer(515, 77).encode("bins")) + 1


def test_special_tokens_are_the_last_two_rows():
    row = small(["dog"])[0]
    assert (small.start, small.end) == (698, 699)
    assert row[0] == 698
    assert row.argmax() == len(small.encode("dog")) + 1
    assert not row[row.argmax() + 1 :].any()


def test_a_text_may_fill_the_context_but_not_exceed_it():
    tokenizer = Tokenizer(514, 8)
    assert len(tokenizer.enclose(tokenizer.encode("abcdef"), "abcdef")) == 8
    with pytest.raises(
        VocabularyError, match='"abcdefg" makes a text of 9 tokens; this model reads at most 8'
    ):
        tokenizer(["ok", "abcdefg"])
    with pytest.raises(VocabularyError, match='"abcdef" makes a text of 10 tokens'):
        tokenizer.enclose(tokenizer.encode("abcdef"), "abcdef", reserved=2)


@pytest.mark.parametrize("size", [513, 49409])
def test_a_size_that_the_encoding_cannot_have_is_refused(size):
    with pytest.raises(CheckpointError, match=f"knows {size:,} tokens"):
        Tokenizer(size, 77)


def test_forgetting_words_does_not_change_tokens(monkeypatch):
    monkeypatch.setattr(tokenizer_module, "_REMEMBERED_WORDS", 4)
    tokenizer = Tokenizer(49408, 77)
    words = [f"word{chr(97 + i)}x" for i in range(20)]
    assert torch.equal(tokenizer(words), reference(words))
    assert torch.equal(tokenizer(words), reference(words))
