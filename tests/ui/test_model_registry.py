"""The menu of models."""

import pytest

from ovseg_demo.errors import ModelError
from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.ui.language.texts import load_texts
from ovseg_demo.ui.layout import licence_line, model_facts
from ovseg_demo.ui.model_registry import MAX_LOADED, ModelEntry, ModelRegistry
from tests.ui.colour_world import colour_segmenter

NAMES = [f"model-{number}" for number in range(MAX_LOADED + 1)]


def make_registry(loaded: list[str]) -> ModelRegistry:
    def load(name):
        loaded.append(name)
        return colour_segmenter()

    return ModelRegistry([ModelEntry(name, name, "", ("sam",)) for name in NAMES], load)


def test_models_are_loaded_when_first_used_and_the_last_few_are_kept():
    loaded = []
    registry = make_registry(loaded)
    assert loaded == []
    first = registry.segmenter(NAMES[0])
    assert registry.segmenter("") is first, "no name is the default's"
    for name in NAMES:
        registry.segmenter(name)
    assert loaded == NAMES
    registry.segmenter(NAMES[-1])
    assert loaded == NAMES
    assert registry.segmenter(NAMES[0]) is not first, "it made room"


def test_bundled_models_stay():
    loaded = []
    entries = [ModelEntry(name, name, "", ("sam",)) for name in NAMES]
    bundled = ModelEntry("photo-mini", "photo-mini", "", ("sam",), spec=CATALOGUE["photo-mini"])
    registry = ModelRegistry([bundled, *entries], lambda name: loaded.append(name) or colour_segmenter())
    first = registry.segmenter("photo-mini")
    for name in NAMES:
        registry.segmenter(name)
    assert registry.segmenter("photo-mini") is first and loaded == ["photo-mini", *NAMES]


def test_a_model_that_failed_to_load_is_tried_again():
    attempts = []

    def load(name):
        attempts.append(name)
        raise ModelError("not downloaded")

    registry = ModelRegistry([ModelEntry("one", "One", "", ("sam",))], load)
    for _ in range(2):
        with pytest.raises(ModelError, match="not downloaded"):
            registry.segmenter("one")
    assert attempts == ["one", "one"]


def test_unknown_models_are_named():
    with pytest.raises(ModelError, match='no model "magic" here; choose one of model-0'):
        make_registry([]).segmenter("magic")


def test_the_catalogues_models_that_can_segment_are_offered_the_default_first():
    registry = ModelRegistry.of_catalogue("ovseg-r101c-vitb16", load=lambda name, caches: None)
    names = [entry.name for entry in registry]
    assert names[0] == "ovseg-r101c-vitb16"
    assert set(names) == {name for name, spec in CATALOGUE.items() if spec.classifies and spec.generators}
    with pytest.raises(ModelError, match="no model that can segment by itself"):
        ModelRegistry.of_catalogue("sam-vit-h", load=lambda name, caches: None)


def test_a_larger_model_is_known_where_there_is_one():
    registry = ModelRegistry.of_catalogue("photo-mini", load=lambda name, caches: None)
    assert registry.larger(registry.default).name == "fast-photo"
    assert registry.larger(registry.find("fast-photo")) is None
    own = ModelRegistry.of_segmenter(colour_segmenter())
    assert own.larger(own.default) is None and own.default.knows_photographs


def test_size_licence_and_presence_are_described():
    registry = ModelRegistry.of_catalogue("ovseg-r101c-vitb16", load=lambda name, caches: None)
    facts = model_facts(registry.default, load_texts())
    seconds = CATALOGUE["ovseg-r101c-vitb16"].seconds
    assert "GB" in facts and f"about {seconds} s an image" in facts
    assert "CC-BY-NC 4.0" in facts
    assert "CC-BY-NC 4.0" in licence_line(registry.default, load_texts())


def test_what_operators_write_is_escaped():
    entry = ModelEntry("x", "<b>mine</b>", "a < b", ("sam",))
    assert "&lt;b&gt;mine" in licence_line(entry, load_texts())
    assert "a &lt; b" in model_facts(entry, load_texts())
