"""What a text tower can know, by its tokens; with the bundled CLIP as the example."""

import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.known_tokens import known_tokens
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.runtime.resources import bundled
from ovseg_demo.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def bundled_encoder():
    return load_segmenter("sticker-world", device="cpu").text_encoder()


@pytest.mark.parametrize(
    "name", ["frog", "mug", "sky", "grass", "helicopter", "xylophone", "a red frog", "frog 狗"]
)
def test_trained_names_are_known(bundled_encoder, name):
    assert bundled_encoder.obstacles([name]) == {}


@pytest.mark.parametrize("name", ["😀", "狗", "собака", "frgo", "\ue000"])
def test_emoji_other_scripts_and_typos_are_unknown_to_a_model_that_never_saw_them(bundled_encoder, name):
    assert bundled_encoder.obstacles([name]) == {name: "unknown to this model"}


def test_a_name_of_too_many_tokens_is_named(bundled_encoder):
    name = " ".join(["a", "x"] * 25) + " red frog" * 12
    assert bundled_encoder.obstacles([name, "frog"]) == {name: "too long for this model"}


@pytest.mark.parametrize(
    ("templates", "message"), [("vlid", 'no prompt templates "vlid"'), ("learned", "no learned prompts")]
)
def test_templates_that_a_model_lacks_are_refused_whatever_the_names(bundled_encoder, templates, message):
    for names in (["frog"], []):
        with pytest.raises(ModelError, match=message):
            bundled_encoder.obstacles(names, templates)


@pytest.mark.parametrize("seed", range(3))
def test_where_all_tokens_are_trained_alike_only_parts_of_characters_are_unknown(seed):
    """OpenAI's CLIP has all of its 49,408 tokens trained."""
    tokenizer = Tokenizer(49_408, 77)
    embedding = torch.randn(49_408, 16, generator=torch.Generator().manual_seed(seed))
    known = known_tokens(embedding, tokenizer)
    for name, is_known in (("frog", True), ("😀", True), ("frgo", True), ("狗", False), ("Ελλάδα", False)):
        assert known[tokenizer.encode(name)].any() == is_known
    assert known[: tokenizer.start].mean() > 0.95


def test_unknown_names_take_nothing_from_the_others():
    analysis = load_segmenter("sticker-world", device="cpu").analyze(
        bundled("examples") / "meadow.jpg", generator="maskformer"
    )
    found = analysis.segment("😀, 狗, frog, mug, sky, " + "x" * 101, distractors="others")
    expected = analysis.segment("frog, mug, sky", distractors="others")
    np.testing.assert_array_equal(found.label_map, expected.label_map)
    assert found.class_names == ("frog", "mug", "sky")
    assert {name[:3] for name, _ in found.vocabulary.ignored} == {"😀", "狗", "xxx"}
    assert found.areas.sum() > 0
    with pytest.raises(VocabularyError, match=r'"狗" \(unknown to this model\)'):
        analysis.segment("狗")
    benchmark = Vocabulary(Vocabulary.parse("狗, frog").classes)
    assert analysis.segment(benchmark).class_names == ("狗", "frog")
