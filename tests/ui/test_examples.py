"""The examples in the repository, and manifests."""

import json

import pytest

from ovseg_demo.images import load_image
from ovseg_demo.segmenter import GENERATORS
from ovseg_demo.ui.examples import PHOTOGRAPH, STICKERS, examples_for, gallery_value, load_examples
from ovseg_demo.ui.request import Request

EXAMPLES = load_examples()


def test_there_are_enough_of_each_kind_and_photographs_lead():
    assert len(examples_for(EXAMPLES, knows_photographs=False)) >= 8
    photographs = examples_for(EXAMPLES, knows_photographs=True)
    assert len(photographs) >= 6 and EXAMPLES[0] in photographs


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_every_example_can_be_run(example):
    assert example.generator in GENERATORS
    request = Request(prompt=example.prompt, generator=example.generator, granularity=example.granularity)
    request.check()
    assert len(request.vocabulary(300).classes) >= 2
    assert min(load_image(example.path).shape[:2]) >= 256
    assert example.path.stat().st_size < 500_000


@pytest.mark.parametrize(
    "example", examples_for(EXAMPLES, knows_photographs=True), ids=lambda example: example.title
)
def test_photographs_name_their_source_and_licence(example):
    licences = ("public domain", "CC0", "CC BY 2.0", "CC BY 4.0")
    assert sum(licence in example.credit for licence in licences) == 1
    assert example.path.stat().st_size <= 150_000


def test_the_gallery_gets_small_images():
    for card in gallery_value(EXAMPLES):
        assert card["thumbnail"].startswith("data:image/webp;base64,")
        assert len(card["thumbnail"]) < 40_000


def test_a_folder_without_a_manifest_has_no_examples(tmp_path):
    assert load_examples(tmp_path) == ()


def test_kinds_are_read(tmp_path):
    entries = [
        {"image": "a.png", "title": "A", "classes": "a", "generator": "sam", "granularity": 1},
        {
            "image": "b.png",
            "title": "B",
            "classes": "b",
            "generator": "sam",
            "granularity": 0,
            "kind": "photograph",
        },
    ]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    assert [example.kind for example in load_examples(tmp_path)] == [STICKERS, PHOTOGRAPH]
