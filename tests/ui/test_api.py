import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageColor
from pycocotools import mask as coco
from pycocotools.coco import COCO

from ovseg_demo.export.formats import FORMATS, encode
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import read_source
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import read_image
from tests.ui.colour_world import colour_segmenter, landscape, save_image, stripes
from tests.ui.serving import serve_page

NAMES = "sky blue, green / lime, red, purple"


@pytest.fixture
def image(tmp_path):
    return save_image(tmp_path / "image.png", landscape())


def call(client, image, *arguments, **named):
    return client.predict(handle_file(str(image)), *arguments, api_name="/segment", **named)


def suggest(client, image, *arguments, **named):
    return client.predict(handle_file(str(image)), *arguments, api_name="/suggest", **named)


def test_no_other_endpoint_is_public(client):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert list(endpoints["named_endpoints"]) == ["/segment", "/suggest"]
    assert not endpoints["unnamed_endpoints"]
    suggestion = endpoints["named_endpoints"]["/suggest"]["parameters"]
    assert [parameter["parameter_name"] for parameter in suggestion] == ["image", "generator", "count"]
    parameters = endpoints["named_endpoints"]["/segment"]["parameters"]
    assert [parameter["parameter_name"] for parameter in parameters] == [
        "image",
        "prompt",
        "generator",
        "granularity",
        "format",
        "points_per_side",
    ]
    assert "label map" in endpoints["named_endpoints"]["/segment"]["description"]


@pytest.mark.parametrize("generator", ["sam", "maskformer"])
def test_label_map_and_record_are_those_of_the_segmenter(server, client, image, generator):
    path, record = call(client, image, NAMES, generator, 0.3)
    expected = server.segmenter.segment(image, NAMES, generator=generator, granularity=0.3)
    label_map, names = decode_label_map(path)
    np.testing.assert_array_equal(label_map, expected.label_map)
    assert names == ("sky blue", "green", "red", "purple")
    assert Image.open(path).mode == "P", "indexed, with its palette"
    categories = record["categories"]
    assert [category["area"] for category in categories] == expected.areas.tolist()
    found = [category for category in categories if category["found"]]
    assert [category["name"] for category in found] == ["sky blue", "green", "red"]
    for category in found:
        assert category["score"] == pytest.approx(float(expected.scores[category["id"] - 1]))
    assert categories[1]["synonyms"] == ["lime"]
    settings = record["info"]["settings"]
    assert (settings["generator"], settings["granularity"], settings["notes"]) == (generator, 0.3, [])
    assert settings["distractors"] == ["others"]
    assert record["images"][0]["source"]["is_turned"] is False


def test_pycocotools_reads_the_record(client, image):
    path, record = call(client, image, NAMES, granularity=0)
    dataset = COCO()
    dataset.dataset = record
    dataset.createIndex()
    label_map, _ = decode_label_map(path)
    assert len(dataset.anns) == 3
    for annotation in dataset.anns.values():
        mask = coco.decode(annotation["segmentation"]).astype(bool)
        np.testing.assert_array_equal(mask, label_map == annotation["category_id"] - 1)


def test_an_image_and_names_are_enough(client, image):
    _, record = call(client, image, "red")
    assert record["info"]["settings"]["generator"] == "sam"
    assert record["info"]["settings"]["granularity"] == 0.8


@pytest.mark.parametrize(
    ("prompt", "named", "sentence"),
    [
        (", ;", {}, "No class name was given"),
        (", ".join(f"thing {i}" for i in range(1001)), {}, "1,001 classes were given; use at most 1,000"),
        (", ".join(f"thing {i}" for i in range(301)), {}, "301 names were given; use at most 300 here"),
        ("x" * 101, {}, "longer than 100 characters"),
        ("red," * 6000, {}, "The list of class names is too long"),
        ("red", {"generator": "detectron2"}, "detectron2"),
        ("red", {"granularity": 1.5}, "1.5"),
        ("red", {"granularity": 10**400}, "is no number; send a granularity"),
        ("red", {"format": "gif"}, 'There is no export format "gif"; choose one of overlay, label-map'),
        ("red", {"format": 7}, "7 is no text; send the name of a format"),
        ("red", {"format": "geojson"}, "GeoTIFF"),
        ("red", {"points_per_side": 20}, "no grid of 20 points a side"),
        ("red", {"points_per_side": "many"}, '"many" is no whole number'),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(client, image, prompt, named, sentence):
    with pytest.raises((AppError, ValueError), match=sentence):
        call(client, image, prompt, **named)


@pytest.fixture(scope="module")
def client_of_small():
    """A client of a page that scales images down to 150 pixels."""
    with serve_page(max_side=150) as small:
        yield small.client()


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"geojson"}))
def test_every_format_has_the_size_of_the_file(client_of_small, name, tmp_path):
    path = save_image(tmp_path / "large one.png", landscape(300, 200))
    file, record = call(client_of_small, path, NAMES, format=name)
    assert Path(file).name == f"large-one-{FORMATS[name].suffix}"
    pixels, _ = read_image(str(path), PageSettings(max_side=150))
    expected = encode(
        colour_segmenter().segment(pixels, Request(prompt=NAMES).vocabulary(300), generator="sam"),
        name,
        ExportOptions({"model": "custom"}, source=read_source(path), file=path),
    )
    assert contents(Path(file).read_bytes()) == contents(expected)
    assert (record["images"][0]["width"], record["images"][0]["height"]) == (300, 200)


def contents(file):
    """The content of a file; of a zip archive those of its files, whose times differ."""
    if not zipfile.is_zipfile(io.BytesIO(file)):
        return file
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_more_points_find_more(client, tmp_path):
    pixels = np.full((240, 320, 3), (0, 128, 0), np.uint8)
    for index in range(20):
        pixels[100:108, 10 + 15 * index :][:, :8] = (255, 0, 0)
    image = save_image(tmp_path / "dots.png", pixels)
    areas = [
        call(client, image, "red, green", points_per_side=points)[1]["categories"][0]["area"]
        for points in (0, 32)
    ]
    assert areas == [8 * 64, 20 * 64]


def test_an_image_is_needed(client):
    with pytest.raises(AppError, match="There is no image"):
        client.predict(None, "red", api_name="/segment")


def test_two_visitors_at_once_get_their_own_results(server, tmp_path):
    """Each with a client, an image and class names of their own, several times."""
    names = ["red", "green", "blue", "yellow", "cyan", "magenta"]
    colours = [ImageColor.getrgb(name) for name in names]
    requests = [
        (
            save_image(tmp_path / f"{i}.png", stripes(colours[i], colours[i - 1], width=60 + i)),
            f"{names[i - 1]}, {names[i]}, black",
        )
        for i in range(6)
    ]

    def ask(visitor):
        client = server.client()
        return [call(client, *request, granularity=0.2) for request in requests[visitor::2]]

    with ThreadPoolExecutor(2) as visitors:
        answers = list(visitors.map(ask, (0, 1)))
    for visitor, results in enumerate(answers):
        for i, (path, record) in zip(range(visitor, 6, 2), results, strict=True):
            label_map, _ = decode_label_map(path)
            assert label_map.shape == (240, 60 + i)
            assert (label_map[0, 0], label_map[0, -1]) == (1, 0), "this image's stripes under these names"
            assert [entry["name"] for entry in record["categories"]] == requests[i][1].split(", ")


def test_results_have_the_size_of_a_file_that_is_scaled_down(tmp_path):
    image = save_image(tmp_path / "large.png", landscape(300, 150))
    with serve_page(max_side=100) as small:
        path, record = call(small.client(), image, "red, green")
    assert (record["images"][0]["width"], record["images"][0]["height"]) == (300, 150)
    assert record["info"]["settings"]["segmented_size"] == [100, 50]
    label_map, _ = decode_label_map(path)
    assert label_map.shape == (150, 300)
    for annotation in record["annotations"]:
        mask = coco.decode(annotation["segmentation"]) > 0
        np.testing.assert_array_equal(mask, label_map == annotation["category_id"] - 1)


# ---- suggested names


def test_suggested_names_are_those_of_the_segmenter(server, client, image):
    expected = server.segmenter.analyze(image).suggest()
    found = suggest(client, image)
    assert [entry["name"] for entry in found] == [one.name for one in expected]
    assert [entry["score"] for entry in found] == pytest.approx([one.score for one in expected])
    assert {"green", "red", "yellow", "sky blue"} <= {entry["name"] for entry in found}
    few = suggest(client, image, "maskformer", 3)
    merged = server.segmenter.analyze(image, generator="maskformer").suggest(3)
    assert [entry["name"] for entry in few] == [one.name for one in merged]


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"count": 0}, "0 names cannot be suggested; ask for 1 to 100"),
        ({"count": 101}, "101 names cannot be suggested"),
        ({"count": 2.5}, "2.5 is no whole number"),
        ({"count": "many"}, '"many" is no whole number'),
        ({"generator": "detectron2"}, "detectron2"),
    ],
)
def test_suggestions_that_cannot_be_made_are_refused_in_one_sentence(client, image, named, sentence):
    with pytest.raises((AppError, ValueError), match=sentence):
        suggest(client, image, **named)


def test_suggestions_need_an_image(client):
    with pytest.raises(AppError, match="There is no image"):
        client.predict(None, api_name="/suggest")


def test_images_for_suggestions_have_the_same_limits(tmp_path):
    image = save_image(tmp_path / "large.png", landscape(300, 150))
    with serve_page(max_pixels=40_000) as small, pytest.raises(AppError, match=r"0\.04 million pixels"):
        suggest(small.client(), image)
