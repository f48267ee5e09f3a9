import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from ovseg_demo.errors import ModelError
from ovseg_demo.images import resize_longer_side
from ovseg_demo.ui.application import make_registry, run
from ovseg_demo.ui.examples import PHOTOGRAPH, Example
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.options import AppOptions
from ovseg_demo.ui.preload import preload
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.settings import PageSettings
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam
from tests.ui.colour_world import colour_segmenter, landscape, save_image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return {"ovseg": save_tiny_ovseg(folder / "ovseg.pth"), "sam": save_tiny_sam(folder / "sam.pth")}


def test_the_menu_is_the_catalogue_with_the_chosen_model_first():
    registry = make_registry(AppOptions(model="ovseg-r101c-vitb16", generator="maskformer"))
    assert registry.default.name == "ovseg-r101c-vitb16"
    assert registry.default.generators == ("maskformer", "sam")
    assert len(list(registry)) > 3
    assert [entry.generators[0] for entry in registry][1:] != ["maskformer"] * (len(list(registry)) - 1)


def test_own_weights_are_the_only_model(tiny_files):
    registry = make_registry(
        AppOptions(weights=tiny_files, runtime={"device": "cpu"}, generator="maskformer")
    )
    assert [entry.generators for entry in registry] == [("maskformer", "sam")]
    assert registry.segmenter("").generators == ("sam", "maskformer")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (AppOptions(model="nothing"), '"nothing" is no model'),
        (
            AppOptions(model="simseg-zero-shot", generator="sam"),
            'has no generator "sam"; choose one of maskformer',
        ),
    ],
)
def test_errors_name_what_is_missing(options, sentence):
    with pytest.raises(ModelError, match=sentence):
        make_registry(options)


def test_after_preloading_an_example_nothing_is_left_to_do(tmp_path):
    segmenter, image = colour_segmenter(), save_image(tmp_path / "house.png", landscape(400, 100))
    example = Example(image, "A house", "red, green", "maskformer", 0.5, PHOTOGRAPH)
    settings = PageSettings(max_side=200)
    sticker = Example(tmp_path / "absent.png", "Another model's", "red")
    lines = list(preload(ModelRegistry.of_segmenter(segmenter), settings, [sticker, example]))
    assert re.fullmatch(r"Preloaded 1 of 1: A house \(.+ m?s\)", *lines)
    stages = []
    segmenter.segment(
        resize_longer_side(landscape(400, 100), 200),
        Request(prompt="red, green").vocabulary(300),
        generator="maskformer",
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert stages == []


def test_a_failed_start_prints_one_sentence(capsys):
    assert run(["--model", "nothing"], {}) == 2
    reported = capsys.readouterr().err
    assert reported.startswith('error: "nothing" is no model')
    assert reported.count("\n") == 1


def test_the_page_opens_and_closes(tiny_files):
    """The program as it is started by hand, with another program's files; nothing is fetched."""
    command = [sys.executable, "app.py", "--ovseg", tiny_files["ovseg"], "--sam", tiny_files["sam"]]
    environment = {**os.environ, "OVSEG_DEVICE": "cpu", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            url = re.fullmatch(r"The page is open at (http://127\.0\.0\.1:\d+)/?\n", line)[1]
            assert httpx.get(f"{url}/gradio_api/app_id").json()["app_id"]
            assert "OVSeg" in httpx.get(url).text
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
