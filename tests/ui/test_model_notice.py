"""The notice beside a map."""

import pytest

from ovseg_demo.ui.language.texts import load_texts
from ovseg_demo.ui.model_notice import grid_message, notice_message
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry

REGISTRY = ModelRegistry.of_catalogue("photo-mini", load=lambda name, caches: None)


def notice(name, **options):
    entry = REGISTRY.find(name)
    return notice_message(7, entry, REGISTRY.larger(entry), load_texts(), **options)


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


def test_strangers_are_given_the_operators_command():
    message = notice("photo-mini")
    assert message["number"] == 7 and message["title"] == "Answered by Photo mini"
    assert "often wrong" in message["text"]
    assert message["command"] == "python -m ovseg_demo download fast-photo"
    assert "758 MB, MIT, Apache-2.0" in message["hint"] and "button" not in message


def test_those_who_may_get_a_button_with_size_and_licence():
    message = notice("photo-mini", may_download=True)
    assert message["button"]["kind"] == "download" and message["button"]["model"] == "fast-photo"
    assert "758 MB · MIT, Apache-2.0" in message["hint"] and "command" not in message


def test_the_button_follows_the_download(weights):
    assert notice("photo-mini", is_downloading=True)["button"]["kind"] == "downloading"
    for file in REGISTRY.find("fast-photo").spec.required.values():
        (weights / file.name).touch()
        if file.tokenizer is not None:
            (weights / file.tokenizer.name).touch()
    assert notice("photo-mini")["button"]["kind"] == "use", "also for strangers: nothing is downloaded"


def test_sticker_world_turns_to_the_model_for_photographs():
    message = notice("sticker-world")
    assert "stickers, not photographs" in message["text"]
    assert message["button"] == {"kind": "use", "model": "photo-mini", "label": "Answer with Photo mini"}


def test_other_models_are_named_alone():
    assert notice("fast-photo").keys() == {"number", "title", "text", "advice"}
    own = ModelEntry("own", "My weights", "", ("sam",))
    assert notice_message(1, own, None, load_texts())["title"] == "Answered by My weights"


def grid(points, chosen=0, seconds=3.7):
    return grid_message(points, chosen, lambda points: seconds, load_texts())


def test_buttons_for_more_points_have_their_cost_and_end_at_64_a_side():
    message = grid(16)
    assert "16 × 16 points" in message["text"]
    (button,) = message["buttons"]
    assert button == {"points": 32, "label": "Analyze again with 4 times as many points", "cost": "about 4 s"}
    assert [button["points"] for button in grid(32, chosen=32)["buttons"]] == [64, 0]
    assert [button["points"] for button in grid(64, chosen=64)["buttons"]] == [0]
    assert grid(40)["buttons"][0]["points"] == 64
    assert grid(64)["buttons"] == []
    assert grid(None) is None, "of another generator"


@pytest.mark.parametrize(
    ("seconds", "cost"), [(None, ""), (0.4, "less than 1 s"), (89, "about 89 s"), (200, "about 3 min")]
)
def test_the_cost_is_rough(seconds, cost):
    assert grid(16, seconds=seconds)["buttons"][0]["cost"] == cost


def test_a_notice_without_a_grid_says_nothing_of_one():
    assert "grid" not in notice("photo-mini")
    assert notice("photo-mini", grid=grid(16))["grid"] == grid(16)
