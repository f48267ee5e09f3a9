"""The page controller without a browser: from an image and class names to a map."""

import io
import json
import re
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ovseg_demo.ui.controller
from ovseg_demo.errors import ImageError, ModelError, OvsegError, VocabularyError
from ovseg_demo.export.formats import FORMATS
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.export.options import View
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.progress import WAITING
from ovseg_demo.ui.assets import read_assets
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.exports import read_view
from ovseg_demo.ui.language.texts import load_texts
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request, write_min_scores
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.suggestions import CHOSEN, OFFERED
from tests.ui import colour_world
from tests.ui.colour_world import MOST_REGIONS, colour_segmenter, landscape, save_image, stripes
from tests.ui.updates import REQUEST, analyze, clears, collect, found, labels

COST = r"(less than|about) \d+ s"
"""What an analysis will take, whatever the machine's load."""

# ---- an analysis


def test_messages_of_a_channel_are_numbered_upwards(controller, image):
    session = Session()
    updates = [*controller.analyze(session, image, REQUEST), controller.edit(session, Request(prompt="red"))]
    updates += [controller.explain(session, 80, 100), controller.clear(session)]
    for channel in ("image", "masks", "map", "why", "progress", "status", "chips"):
        numbers = [update[channel]["number"] for update in updates if channel in update]
        assert numbers, channel
        assert numbers == sorted(set(numbers)), channel


def test_an_analysis_shows_image_masks_and_map_in_turn(controller, image, published):
    session = Session()
    updates = list(controller.analyze(session, image, REQUEST))
    order = [channel for update in updates for channel in update if channel in ("image", "masks", "map")]
    assert order == ["image", "masks", "map"]
    assert clears(updates[-1], "progress", "preview")
    newest = collect(updates)
    assert (newest["image"]["width"], newest["image"]["height"]) == (320, 240)
    assert newest["masks"]["count"] == 4
    assert "4 masks" in newest["status"]["text"]
    assert published["image.jpg"].startswith(b"\xff\xd8")


def test_the_map_is_exact_and_its_legend_sorted_by_area(controller, image):
    _, newest = analyze(controller, image)
    displayed = newest["map"]
    assert found(displayed) == ["green", "skyblue", "red", "yellow"]
    by_name = {entry["name"]: entry for entry in displayed["classes"]}
    assert by_name["red"]["synonyms"] == ["crimson"]
    pixels = landscape()
    for name, colour in (("red", (255, 0, 0)), ("yellow", (255, 255, 0))):
        np.testing.assert_array_equal(
            labels(displayed) == by_name[name]["index"] + 1, (pixels == colour).all(axis=2)
        )
        assert by_name[name]["share"] == pytest.approx(np.mean((pixels == colour).all(axis=2)))
    assert not by_name["unicorn"]["isFound"]
    assert by_name["unicorn"]["score"] < 0.1


def test_names_are_chips_in_the_colours_of_the_map(controller, image):
    _, newest = analyze(controller, image)
    of_map = {entry["name"]: entry["color"] for entry in newest["map"]["classes"]}
    chips = newest["chips"]["chips"]
    assert {chip["name"]: chip["color"] for chip in chips} == of_map
    assert {chip["name"]: chip["isFound"] for chip in chips}["unicorn"] is False


def test_a_single_class_competes_with_a_hidden_one(controller, image):
    _, newest = analyze(controller, image, Request(prompt="red"))
    assert newest["chips"]["hidden"] == ["others"]


def test_without_masks_nothing_is_suggested_and_other_names_can_be_typed(image, published):
    segmenter = colour_segmenter(candidates=())
    controller = PageController(
        PageResources(
            ModelRegistry.of_segmenter(segmenter), PageSettings(), lambda content, name: {"path": name}
        )
    )
    session, newest = analyze(controller, image, Request())
    assert "map" not in newest
    assert newest["suggestions"]["names"] == []
    assert "now type the names" in newest["status"]["text"]
    assert found(controller.edit(session, REQUEST)["map"])


def test_without_an_image_the_error_names_the_remedy(controller):
    with pytest.raises(OvsegError, match="choose an example"):
        list(controller.analyze(Session(), None, REQUEST))


def test_a_file_that_is_no_image_leaves_the_page_tidy(controller, tmp_path, image):
    session, _ = analyze(controller, image)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    updates = []
    with pytest.raises(ImageError, match=r"broken\.png"):
        for update in controller.analyze(session, str(broken), REQUEST):
            updates.append(update)
    assert clears(updates[-1], "progress", "preview")
    assert session.displayed is not None, "the map before it stays"
    assert found(controller.edit(session, REQUEST)["map"])


def test_large_images_are_scaled_down(controller, tmp_path):
    path = save_image(tmp_path / "large.png", landscape(800, 600))
    _, newest = analyze(controller, str(path))
    assert (newest["image"]["width"], newest["image"]["height"]) == (400, 300)
    assert labels(newest["map"]).shape == (300, 400)


# ---- suggested names


def test_an_empty_prompt_gets_the_best_names_and_their_map(controller, image):
    session, newest = analyze(controller, image, Request())
    message = newest["suggestions"]
    assert message["names"][:4] == ["green", "sky blue", "red", "yellow"]
    assert CHOSEN < len(message["names"]) <= OFFERED
    assert message["prompt"].split(", ") == message["names"][:CHOSEN]
    assert message["replaced"] == ""
    assert found(newest["map"]) == ["green", "sky blue", "red", "yellow"]
    assert session.displayed.request.prompt == message["prompt"], "files and links have these names"
    assert "prompt=green%2C+sky+blue" in newest["map"]["link"]


def test_typed_names_are_mapped_and_others_offered(controller, image):
    analyze(controller, image, Request())  # the candidates are encoded
    _, again = analyze(controller, image, Request(prompt="red, purple"))
    assert found(again["map"]) == ["red"]
    assert again["suggestions"]["names"][:4] == ["green", "sky blue", "red", "yellow"]
    assert again["suggestions"]["prompt"] == "", "what the visitor typed stays"


def test_candidates_that_must_be_encoded_first_do_not_hold_up_the_map(controller, image):
    session, newest = analyze(controller, image, REQUEST)
    assert newest["suggestions"]["isPending"]
    updates = list(controller.suggest(session))
    offered = collect(updates)["suggestions"]
    assert offered["names"][:4] == ["green", "sky blue", "red", "yellow"]
    assert clears(updates[-1], "progress")
    _, again = analyze(controller, image, REQUEST)
    assert again["suggestions"]["names"] == offered["names"], "they are encoded now"


def test_another_image_replaces_suggested_names_but_not_typed_ones(controller, image, tmp_path):
    other = str(save_image(tmp_path / "other.png", stripes((0, 0, 255), (128, 0, 128))))
    session, first = analyze(controller, image, Request())
    suggested = first["suggestions"]["prompt"]
    session, second = analyze(controller, other, Request(prompt=suggested), session)
    assert second["suggestions"]["replaced"] == suggested
    assert found(second["map"]) == ["blue", "purple"]
    typed = Request(prompt=f"{second['suggestions']['prompt']}, unicorn")
    session, third = analyze(controller, image, typed, session)
    assert third["suggestions"]["prompt"] == ""
    assert session.displayed.request.prompt == typed.prompt


def test_an_image_after_an_example_gets_names_of_its_own(controller, image, tmp_path):
    other = str(save_image(tmp_path / "other.png", landscape(200, 150)))
    for typed in ("red, green", "red, green, cat"):
        session = Session()
        session.choose_example(image, "House", "red, green")
        analyze(controller, image, Request(prompt=typed), session)
        assert session.wanted.request.prompt == typed, "the example keeps its names"
        analyze(controller, image, Request(prompt=typed, generator="maskformer"), session)
        assert session.wanted.request.prompt == typed, "whatever is set"
        analyze(controller, other, Request(prompt=typed), session)
        is_kept = session.wanted.request.prompt == typed
        assert is_kept == (typed != "red, green"), "names that the visitor changed are the visitor's"


def test_a_file_that_is_refused_leaves_the_image_usable(controller, image):
    session, _ = analyze(controller, image, Request(prompt="red, green"))
    _, newest = analyze(controller, None, Request(prompt="blue, red", generator="maskformer"), session)
    assert found(newest["map"]) and session.displayed.request.generator == "maskformer"
    assert session.image.path == image


def test_what_was_said_of_an_image_leaves_with_it(controller, image, tmp_path):
    session, _ = analyze(controller, image)
    other = str(save_image(tmp_path / "other.png", landscape(200, 150)))
    first = next(update for update in controller.analyze(session, other, REQUEST) if "image" in update)
    assert clears({"status": first["status"]}, "status")


def test_suggested_names_stay_when_only_settings_change(controller, image):
    session, first = analyze(controller, image, Request())
    suggested = Request(prompt=first["suggestions"]["prompt"], generator="maskformer")
    session, second = analyze(controller, image, suggested, session)
    assert session.displayed.request.prompt == suggested.prompt
    assert second["suggestions"]["prompt"] == ""


def test_names_typed_during_the_analysis_count_instead_of_suggestions(controller, slow_image, monkeypatch):
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 30)
    session, updates = Session(), []
    for update in controller.analyze(session, slow_image, Request()):
        updates.append(update)
        if "masks" in update:
            controller.edit(session, Request(prompt="red, magenta"))
    newest = collect(updates)
    assert session.displayed.request.prompt == "red, magenta"
    assert not newest["suggestions"].get("prompt")


def test_suggestions_leave_with_their_image(controller, image, slow_image):
    session, _ = analyze(controller, image, Request())
    assert set(controller.clear(session)["suggestions"]) == {"number"}
    for update in controller.analyze(session, slow_image, REQUEST):
        if "image" in update:
            assert set(update["suggestions"]) == {"number"}
            session.runs.cancel()


def test_visitors_get_suggestions_for_their_own_images(controller, image, tmp_path):
    other = str(save_image(tmp_path / "other.png", stripes((0, 0, 255), (128, 0, 128))))
    first, second = Session(), Session()
    for _ in range(2):
        _, of_first = analyze(controller, image, Request(), first)
        _, of_second = analyze(controller, other, Request(), second)
        assert found(of_first["map"]) == ["green", "sky blue", "red", "yellow"]
        assert found(of_second["map"]) == ["blue", "purple"]
        assert of_first["suggestions"]["replaced"] == of_second["suggestions"]["replaced"] == ""


# ---- edits


def test_other_class_names_and_another_granularity_change_the_map_at_once(controller, image):
    session, first = analyze(controller, image)
    fewer = controller.edit(session, Request(prompt="red, green"))
    assert found(fewer["map"]) == ["green", "red"]
    assert fewer["map"]["number"] > first["map"]["number"]
    assert "from the cache" in fewer["status"]["text"]
    coarse = controller.edit(session, Request(prompt="red, green", granularity=0))
    assert len(coarse["map"]["kept"]) == 4, "all masks take part"
    assert "prompt=red%2C+green&granularity=0" in coarse["map"]["link"]


def test_an_edit_before_the_first_analysis_only_echoes_the_class_names(controller):
    updates = controller.edit(Session(), REQUEST)
    assert set(updates) == {"chips"}


MANY = replace(REQUEST, prompt=f"{REQUEST.prompt}, {', '.join(f'thing {number}' for number in range(12))}")


def test_many_new_names_are_encoded_as_long_work(controller, image):
    session, newest = analyze(controller, image)
    updates = controller.edit(session, MANY)
    assert set(updates) == {"chips", "names"} and updates["names"]["count"] == 12
    assert session.displayed.request == REQUEST
    updates = list(controller.encode(session))
    assert session.displayed.request == MANY
    encoded = collect(updates)
    assert found(encoded["map"]) == found(newest["map"])
    assert encoded["map"]["number"] > newest["map"]["number"]
    assert clears(updates[-1], "progress"), "and not the preview of an analysis"
    assert "map" in controller.edit(session, MANY), "they are known now"


def test_names_that_are_encoded_give_way_to_newer_ones(controller, image, monkeypatch):
    session, _ = analyze(controller, image)
    begun, may_go_on = threading.Event(), threading.Event()
    real = colour_world.Classifier.embed_names

    def slow(self, names, templates, *, progress):
        if len(names) > 8:
            begun.set()
            assert may_go_on.wait(60)
        return real(self, names, templates, progress=progress)

    monkeypatch.setattr(colour_world.Classifier, "embed_names", slow)
    assert "names" in controller.edit(session, MANY)
    updates = []
    encoding = threading.Thread(target=lambda: updates.extend(controller.encode(session)))
    encoding.start()
    assert begun.wait(60)
    newest = controller.edit(session, Request(prompt="red, one new name"))
    assert "map" in newest, "a few names do not wait for the many"
    encoding.join(60)
    may_go_on.set()
    assert set(collect(updates)) == {"progress"}, "no map, and no note that something was cancelled"
    assert session.displayed.request.prompt == "red, one new name"


def test_the_model_knows_none_of_many_names(controller, image):
    session, _ = analyze(controller, image)
    strange = Request(prompt=", ".join(f"狗{number}" for number in range(12)))
    assert "names" in controller.edit(session, strange)
    assert "unknown to this model" in collect(controller.encode(session))["chips"]["problem"]


def test_without_an_image_nothing_is_encoded(controller):
    assert list(controller.encode(Session())) == []


def test_invalid_class_names_give_an_error_beside_the_box_and_keep_the_map(controller, image):
    session, _ = analyze(controller, image)
    for prompt, reason in (("x" * 101, "longer than 100 characters"), ("狗", "unknown to this model")):
        updates = controller.edit(session, Request(prompt=prompt))
        assert set(updates) == {"chips"}
        assert reason in updates["chips"]["problem"]
        assert session.displayed.request == REQUEST


def test_names_that_cannot_be_used_are_named_and_the_rest_keeps_its_map(controller, image):
    session, newest = analyze(controller, image)
    updates = controller.edit(session, replace(REQUEST, prompt=f"{REQUEST.prompt}, 狗, {'x' * 101}, ---"))
    np.testing.assert_array_equal(labels(updates["map"]), labels(newest["map"]))
    chips = updates["chips"]
    assert [chip["name"] for chip in chips["chips"]] == [chip["name"] for chip in newest["chips"]["chips"]]
    for part in ("Left out: ", '"狗" (unknown to this model)', '"---" (no letter', "longer than 100"):
        assert part in chips["problem"]


def test_no_class_names_no_map(controller, image):
    session, _ = analyze(controller, image)
    cleared = controller.edit(session, Request(prompt=" , "))
    assert clears({"map": cleared["map"]}, "map")
    assert session.displayed is None


def test_the_operators_limit_on_class_names_holds(controller, image):
    many = Request(prompt=",".join(f"word {number}" for number in range(21)))
    with pytest.raises(VocabularyError, match="use at most 20 here"):
        list(controller.analyze(Session(), image, many))


def test_distractors_compete_and_are_not_drawn(controller, image):
    session, _ = analyze(controller, image)
    request = Request(
        prompt="red, green", distractors="own", own_distractors="skyblue; yellow", granularity=0
    )
    updates = controller.edit(session, request)
    assert updates["chips"]["hidden"] == ["skyblue", "yellow"]
    assert updates["map"]["unlabelled"] > 0.3
    assert (
        len(controller.edit(session, Request(prompt="red", distractors="coco-stuff"))["chips"]["hidden"])
        == 171
    )


# ---- runs


def test_a_cancelled_analysis_ends_and_says_so(controller, slow_image):
    session = Session()
    updates = controller.analyze(session, slow_image, REQUEST)
    while "progress" not in (update := next(updates)):
        pass
    assert update["progress"]["label"].startswith(("Proposing masks", "Loading"))
    session.runs.cancel(update["progress"]["run"])
    ending = collect(updates)
    assert ending.pop("status")["text"] == load_texts()["status.cancelled"]
    assert clears(ending, "progress", "preview")
    assert session.displayed is None


def test_after_a_cancelled_analysis_another_one_gives_its_map(controller, slow_image, image):
    session = Session()
    cancelled = controller.analyze(session, slow_image, REQUEST)
    while "progress" not in (update := next(cancelled)):
        pass
    session.runs.cancel(update["progress"]["run"])
    again = controller.analyze(session, image, REQUEST)
    assert "chips" in next(again)
    session.runs.cancel(update["progress"]["run"])  # pressed twice, and the second comes late
    assert found(collect(again)["map"])
    assert "status" not in collect(cancelled), "its end says nothing about the newer analysis"


def test_comparing_does_not_end_an_analysis(controller, slow_image, monkeypatch):
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 20)
    session, _ = analyze(controller, slow_image)
    updates = controller.analyze(session, slow_image, replace(REQUEST, generator="maskformer"))
    while "progress" not in next(updates):
        pass
    assert list(controller.compare(session, "clips")) == []
    newest = collect(updates)
    assert newest["map"]["classifier"] != newest["other"]["classifier"]


def test_a_newer_image_ends_the_analysis_at_the_older_one(controller, slow_image, image):
    session = Session()
    older = controller.analyze(session, slow_image, REQUEST)
    while "image" not in next(older):
        pass
    newer = collect(controller.analyze(session, image, REQUEST))
    assert found(newer["map"])
    assert "map" not in collect(older)
    assert session.displayed.image.number == newer["image"]["number"]


def test_analyses_wait_for_their_turn_and_say_so(slow_image, image):
    settings = PageSettings(concurrent_analyses=1)
    controller = PageController(
        PageResources(
            ModelRegistry.of_segmenter(colour_segmenter()), settings, lambda content, name: {"path": name}
        )
    )
    first = controller.analyze(Session(), slow_image, REQUEST)
    while "progress" not in next(first):
        pass
    session = Session()
    waiting = controller.analyze(session, image, replace(REQUEST, generator="maskformer"))
    seen = {}
    while "progress" not in seen:
        seen |= next(waiting)
    assert "image" not in seen, "an image is decoded in its turn, too"
    assert seen["progress"]["label"] == WAITING
    first.close()
    newest = collect(waiting)
    assert newest["image"]["file"]
    assert found(newest["map"])


def test_a_second_request_during_an_analysis_joins_it_with_the_newer_class_names(
    controller, slow_image, monkeypatch
):
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 40)  # it is waited for
    session = Session()
    updates = controller.analyze(session, slow_image, Request(prompt="green"))
    while "progress" not in next(updates):
        pass
    assert set(collect(controller.analyze(session, slow_image, Request(prompt="red")))) == {"chips"}
    controller.edit(session, Request(prompt="red, magenta"))
    assert found(collect(updates)["map"]) == ["red", "magenta"]


def test_a_visitor_who_leaves_stops_the_work(controller, slow_image):
    session = Session()
    updates = controller.analyze(session, slow_image, REQUEST)
    while "progress" not in next(updates):
        pass
    updates.close()
    assert not session.runs.is_running("analyze")


def test_two_visitors_share_nothing(controller, tmp_path, image):
    other = save_image(tmp_path / "other.png", stripes((0, 0, 255), (255, 0, 0)))
    results = {}

    def visit(name, path, prompt):
        session, newest = analyze(controller, str(path), Request(prompt=prompt))
        results[name] = found(newest["map"]), session.displayed.request.prompt

    visitors = [
        threading.Thread(target=visit, args=("one", image, "green, yellow, red, skyblue")),
        threading.Thread(target=visit, args=("two", other, "blue, red")),
    ]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert results["one"] == (["green", "skyblue", "red", "yellow"], "green, yellow, red, skyblue")
    assert results["two"] == (["blue", "red"], "blue, red")


# ---- questions about a map


def test_a_pixel_is_explained(controller, image):
    session, _ = analyze(controller, image)
    why = controller.explain(session, 80, 100)["why"]
    assert why["name"] == "red"
    assert why["classes"][0]["share"] > 0.9
    assert why["maskCount"] == 1
    mask = labels({"labels": why["mask"]})
    np.testing.assert_array_equal(mask == 1, (landscape() == (255, 0, 0)).all(axis=2))


def test_pixels_outside_the_image_are_not_explained(controller, image):
    session, _ = analyze(controller, image)
    assert clears(controller.explain(session, 320, 0), "why")
    assert clears(controller.explain(Session(), 0, 0), "why")


def test_classifiers_are_compared_on_the_same_masks_and_settings(controller, image):
    session, _ = analyze(controller, image, Request(prompt="red, blue"))
    other = collect(controller.compare(session, "clips"))["other"]
    assert found(other) == ["red", "blue"] or found(other) == ["blue", "red"]
    index = {entry["name"]: entry["index"] for entry in other["classes"]}
    assert labels(other)[100, 80] == index["blue"] + 1, "the un-adapted one mistakes red for blue"
    assert "other" in controller.edit(session, Request(prompt="red, blue, yellow"))
    assert list(controller.compare(session, "")) == []
    assert "other" not in controller.edit(session, Request(prompt="red, blue"))


def test_the_cost_of_a_comparison_is_told_before_it_starts(controller, image):
    session, newest = analyze(controller, image)
    costs = {rival["key"]: rival["cost"] for rival in newest["map"]["rivals"]}
    assert re.fullmatch(COST, costs.pop("clips")) and costs == {"generator:maskformer": "one more analysis"}
    collect(controller.compare(session, "generator:maskformer"))
    again = controller.edit(session, replace(REQUEST, granularity=0.3))["map"]
    assert {rival["key"]: rival["cost"] for rival in again["rivals"]}["generator:maskformer"] == ""
    _, newest = analyze(controller, image)
    assert all(re.fullmatch(COST, rival["cost"]) for rival in newest["map"]["rivals"]), "it was measured"


def test_generators_are_compared(controller, image):
    session, newest = analyze(controller, image, Request(prompt="red, blue"))
    keys = [rival["key"] for rival in newest["map"]["rivals"]]
    assert keys == ["clips", "generator:maskformer"]
    other = collect(controller.compare(session, "generator:maskformer"))["other"]
    assert other["rival"] == "generator:maskformer" and found(other)
    edited = controller.edit(session, Request(prompt="red, green"))
    assert edited["other"]["rival"] == "generator:maskformer"
    collect(controller.compare(session, "clips"))
    assert session.comparison.key == "clips"
    with pytest.raises(ModelError, match="nothing of this kind to compare with"):
        list(controller.compare(session, "model:none"))


# ---- files


def save(controller, session, kind: str) -> dict:
    """Return the message of a file to download."""
    return collect(controller.export(session, kind, View()))["file"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("overlay", "land-scape-overlay.png"),
        ("label-map", "land-scape-label-map.png"),
        ("coco", "land-scape-coco.json"),
        ("masks", "land-scape-masks.zip"),
    ],
)
def test_files_carry_the_map_on_the_page(controller, image, published, kind, name):
    session, newest = analyze(controller, image)
    message = save(controller, session, kind)
    assert message["name"] == name
    assert published[name]
    if kind == "label-map":
        label_map, _ = decode_label_map(published[name])
        np.testing.assert_array_equal(label_map + 1, labels(newest["map"]))


@pytest.fixture
def camera_image(tmp_path):
    """An image that is scaled down to half, and that the EXIF orientation turns."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "camera.webp"
    Image.fromarray(np.rot90(landscape(800, 600)).copy()).save(path, lossless=True, exif=exif)
    return str(path)


def test_files_have_the_size_of_the_upload(controller, camera_image, published):
    session, newest = analyze(controller, camera_image)
    assert labels(newest["map"]).shape == (300, 400)
    for kind in ("label-map", "coco", "cut-outs"):
        save(controller, session, kind)
    label_map, names = decode_label_map(published["camera-label-map.png"])
    np.testing.assert_array_equal(label_map + 1, labels(newest["map"]).repeat(2, axis=0).repeat(2, axis=1))
    record = json.loads(published["camera-coco.json"])
    (entry,) = record["images"]
    assert (entry["width"], entry["height"]) == (800, 600)
    assert entry["source"] == {"file_name": "camera.webp", "width": 600, "height": 800, "is_turned": True}
    archive = zipfile.ZipFile(io.BytesIO(published["camera-cut-outs.zip"]))
    for cut_out in json.loads(archive.read("camera/cut-outs.json"))["cut_outs"]:
        left, top, width, height = cut_out["box"]
        pixels = np.asarray(Image.open(archive.open(f"camera/{cut_out['file']}")))
        mask = (label_map == names.index(cut_out["class"]))[top : top + height, left : left + width]
        np.testing.assert_array_equal(pixels[..., 3] > 0, mask)
        original = landscape(800, 600)[top : top + height, left : left + width]
        np.testing.assert_array_equal(pixels[mask, :3], original[mask])


def test_a_file_that_needs_a_deleted_upload_says_so(controller, camera_image):
    session, _ = analyze(controller, camera_image)
    Path(camera_image).unlink()
    save(controller, session, "label-map")
    for kind in ("overlay", "cut-outs", "geojson"):
        with pytest.raises(ImageError, match="no longer on the server, and this file needs it; choose it"):
            save(controller, session, kind)


def test_files_wait_for_memory(camera_image):
    """While other images take the budget, no file is made."""
    budget = MemoryBudget(50_000_000)
    registry = ModelRegistry.of_segmenter(colour_segmenter())
    controller = PageController(PageResources(registry, PageSettings(max_side=400), lambda *file: {}, budget))
    session, _ = analyze(controller, camera_image)
    done = threading.Event()

    def export():
        save(controller, session, "label-map")
        done.set()

    with budget.take(50_000_000):
        threading.Thread(target=export, daemon=True).start()
        assert not done.wait(0.3)
    assert done.wait(30)


def test_a_file_that_is_cancelled_is_not_made(camera_image):
    """The visitor cancels while the file waits for memory."""
    budget = MemoryBudget(50_000_000)
    registry = ModelRegistry.of_segmenter(colour_segmenter())
    names = []

    def publish(content, name):
        names.append(name)
        return {"path": name}

    controller = PageController(PageResources(registry, PageSettings(max_side=400), publish, budget))
    session, _ = analyze(controller, camera_image)
    names.clear()
    with budget.take(50_000_000):
        updates = controller.export(session, "masks", View())
        progress = next(updates)["progress"]
        assert (progress["label"], progress["fraction"]) == ("Writing the file", 0)
        session.runs.cancel(progress["run"])
        newest = collect(updates)
    assert "file" not in newest
    assert "status" not in newest, "the map is still there"
    assert save(controller, session, "masks")["name"] == "camera-masks.zip"
    assert names == ["camera-masks.zip"]


def test_files_of_two_formats_are_made_side_by_side(controller, image):
    session, _ = analyze(controller, image)
    first, second = (controller.export(session, kind, View()) for kind in ("coco", "masks"))
    names = [collect(updates)["file"]["name"] for updates in (second, first)]
    assert names == ["land-scape-masks.zip", "land-scape-coco.json"]


def test_a_record_describes_how_its_map_was_made(controller, image, published):
    session, _ = analyze(controller, image, replace(REQUEST, distractors="own", own_distractors="grey, pink"))
    name = save(controller, session, "coco")["name"]
    record = json.loads(published[name])
    settings = record["info"]["settings"]
    assert settings["distractors"] == ["grey", "pink"]
    assert (settings["generator"], settings["granularity"]) == ("sam", 0.8)
    assert settings["model"] == controller._registry.default.name
    assert {"prompt", "classifier", "templates"} <= set(settings)
    (entry,) = record["images"]
    assert entry["source"] == {
        "file_name": Path(image).name,
        "width": entry["width"],
        "height": entry["height"],
        "is_turned": False,
    }


def test_the_page_offers_every_format():
    html = read_assets("viewer/viewer.html", texts=load_texts())
    assert sorted(re.findall(r'data-file="([^"]+)"', html)) == sorted(FORMATS)


def test_files_need_a_map_and_a_known_kind(controller, image):
    with pytest.raises(OvsegError, match="no map yet"):
        save(controller, Session(), "overlay")
    session, _ = analyze(controller, image)
    with pytest.raises(OvsegError, match='no export format "virus"'):
        save(controller, session, "virus")


def test_what_the_browser_says_of_the_view_is_not_trusted():
    assert read_view({"opacity": 0.3, "labels": False, "outlines": True}) == View(0.3, False, True)
    assert read_view({"opacity": "<script>", "labels": "yes"}) == View(labels=True)
    assert read_view({"opacity": float("nan")}) == View()


# ---- settings that are not there


def test_unknown_settings_are_refused_by_name(controller, image):
    for request in (Request(generator="magic"), Request(classifier="magic"), Request(model="magic")):
        with pytest.raises(ModelError, match="magic"):
            list(controller.analyze(Session(), image, request))


def test_downloads_must_be_allowed(controller):
    with pytest.raises(ModelError, match="ask its operator"):
        list(controller.download(Session(), ""))


def test_a_model_is_fetched_with_its_progress_where_that_is_allowed(monkeypatch):
    fetched = []

    def download(spec, progress):
        progress("Downloading weights.pth", 5_000_000, 20_000_000)
        time.sleep(0.3)
        fetched.append(spec.name)

    monkeypatch.setattr(ovseg_demo.ui.controller, "download_model", download)
    registry = ModelRegistry.of_catalogue("sticker-world", load=lambda name, caches: colour_segmenter())
    controller = PageController(
        PageResources(registry, PageSettings(allow_downloads=True), lambda content, name: {})
    )
    updates = list(controller.download(Session(), "ovseg-r101c-vitb16"))
    assert updates[0]["progress"]["label"] == "Downloading weights.pth 5 / 20 MB"
    assert updates[0]["progress"]["fraction"] == 0.25
    assert clears(updates[-1], "progress")
    assert fetched == ["ovseg-r101c-vitb16"]


def test_the_notice_offers_a_larger_model_and_follows_its_download(monkeypatch, image, tmp_path):
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path))

    def download(spec, progress):
        progress("Downloading weights", 1, 2)
        for file in spec.required.values():
            file.path().touch()

    monkeypatch.setattr(ovseg_demo.ui.controller, "download_model", download)
    registry = ModelRegistry.of_catalogue("photo-mini", load=lambda name, caches: colour_segmenter())
    controller = PageController(
        PageResources(registry, PageSettings(allow_downloads=True), lambda content, name: {})
    )
    session = Session()
    notice = collect(controller.analyze(session, image, REQUEST))["notice"]
    assert notice["title"] == "Answered by Photo mini"
    assert notice["command"] == "python -m ovseg_demo download fast-photo" and "button" not in notice
    session.may_download = True
    notice = controller.edit(session, replace(REQUEST, granularity=0.3))["notice"]
    assert notice["button"] == {"kind": "download", "model": "fast-photo", "label": notice["button"]["label"]}
    assert "758 MB · MIT, Apache-2.0" in notice["hint"]
    notices = [
        update["notice"] for update in controller.download(session, "fast-photo") if "notice" in update
    ]
    assert [each["button"]["kind"] for each in notices] == ["downloading", "use"]
    notice = collect(controller.analyze(session, image, replace(REQUEST, model="fast-photo")))["notice"]
    assert notice["title"].startswith("Answered by Fast photo") and "button" not in notice


def test_a_download_that_fails_can_be_started_again(monkeypatch, image):
    def download(spec, progress):
        raise ModelError("no network")

    monkeypatch.setattr(ovseg_demo.ui.controller, "download_model", download)
    registry = ModelRegistry.of_catalogue("photo-mini", load=lambda name, caches: colour_segmenter())
    controller = PageController(
        PageResources(registry, PageSettings(allow_downloads=True), lambda content, name: {})
    )
    session = Session()
    session.may_download = True
    collect(controller.analyze(session, image, REQUEST))
    kinds = []
    with pytest.raises(ModelError, match="no network"):
        for update in controller.download(session, "fast-photo"):
            kinds += [update["notice"]["button"]["kind"]] if "notice" in update else []
    assert kinds == ["downloading", "download"]


def test_images_can_be_analyzed_during_a_download(monkeypatch, image):
    analyzed = threading.Event()

    def download(spec, progress):
        while not analyzed.wait(0.05):
            progress("Downloading weights.pth", 5_000_000, 20_000_000)
        progress("Downloading weights.pth", 20_000_000, 20_000_000)
        time.sleep(0.3)

    monkeypatch.setattr(ovseg_demo.ui.controller, "download_model", download)
    registry = ModelRegistry.of_catalogue("sticker-world", load=lambda name, caches: colour_segmenter())
    controller = PageController(
        PageResources(registry, PageSettings(allow_downloads=True), lambda content, name: {})
    )
    session = Session()
    fetching = controller.download(session, "ovseg-r101c-vitb16")
    assert next(fetching)["progress"]["fraction"] == 0.25
    newest = collect(controller.analyze(session, image, REQUEST))
    assert found(newest["map"])
    assert clears({"progress": newest["progress"]}, "progress"), "the bar is the download's again"
    analyzed.set()
    *_, end, last = (update for update in fetching if "progress" in update)
    assert end["progress"]["fraction"] == 1.0
    assert clears(last, "progress")


def test_clear_forgets(controller, image):
    session, _ = analyze(controller, image)
    updates = controller.clear(session)
    assert clears({"map": updates["map"]}, "map")
    assert session.image is None
    assert session.displayed is None


# ---- least scores


def test_the_least_score_of_a_class_survives_other_names_and_is_recorded(controller, image, published):
    names = "red, crimson, green"  # which is near red: the share of the house is below 1
    session, newest = analyze(controller, image, Request(prompt=names))
    house = next(entry for entry in newest["map"]["classes"] if entry["name"] == "red")
    request = Request(prompt=names, min_score=0.05, min_scores=write_min_scores({"red": 1.0}))
    displayed = controller.edit(session, request)["map"]
    assert "red" in found(newest["map"]) and "red" not in found(displayed)
    assert displayed["unlabelled"] == pytest.approx(newest["map"]["unlabelled"] + house["share"])
    least = {entry["name"]: entry["minScore"] for entry in displayed["classes"]}
    assert least == {"red": 1.0, "crimson": 0.05, "green": 0.05}
    assert (displayed["minScore"], displayed["minScores"]) == (0.05, {"red": 1.0})
    save(controller, session, "coco")
    (record,) = (json.loads(content) for name, content in published.items() if name.endswith(".json"))
    settings = record["info"]["settings"]
    assert settings["min_score"] == least and "min_scores" not in settings

    displayed = controller.edit(session, replace(request, prompt="green"))["map"]
    assert displayed["minScores"] == {"red": 1.0}
    assert "red" not in found(controller.edit(session, request)["map"]), (
        "the name is back, and its least score"
    )
    assert "min_scores=" in session.displayed.request.link()


# ---- more points of Segment Anything


@pytest.fixture
def dotted_image(tmp_path):
    """More small things than a grid of 16 × 16 points finds."""
    pixels = np.full((240, 320, 3), (0, 128, 0), np.uint8)
    for index in range(20):
        x = 10 + 30 * (index % 10)
        pixels[60 + 80 * (index // 10) :, x : x + 8][:8] = (255, 0, 0)
    return str(save_image(tmp_path / "dots.png", pixels))


def test_more_points_find_smaller_things_and_corrections_stay(controller, dotted_image):
    few, names = MOST_REGIONS, "red, green"
    session, newest = analyze(controller, dotted_image, Request(prompt=names))
    assert newest["masks"]["count"] == few + 1
    (finer,) = newest["notice"]["grid"]["buttons"]
    assert finer["points"] == 32 and re.fullmatch(r"(less than|about) \d+ s", finer["cost"])
    controller.correct(session, {"kind": "name", "x": 300, "y": 230, "name": "lawn"})
    session, newest = analyze(
        controller, dotted_image, Request(prompt=names, points_per_side=finer["points"]), session
    )
    assert newest["masks"]["count"] == 20 + 1
    assert "lawn" in found(newest["map"]) and newest["map"]["corrections"]["count"] == 1
    assert [button["points"] for button in newest["notice"]["grid"]["buttons"]] == [64, 0]
    assert "points_per_side=32" in newest["map"]["link"]
    edited = controller.edit(session, Request(prompt="red", points_per_side=32))
    assert found(edited["map"])[0] == "lawn", "the newest analysis answers"


def test_the_other_generator_has_no_points(controller, image):
    request = Request(prompt="red", generator="maskformer", points_per_side=32)
    _, newest = analyze(controller, image, request)
    assert "grid" not in newest["notice"]
