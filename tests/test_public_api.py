"""What ``import ovseg_demo`` gives."""

import subprocess
import sys

import pytest

import ovseg_demo

NAMES = {
    "load_segmenter",
    "Correction",
    "MaskPrompt",
    "Predictor",
    "Segmenter",
    "Analysis",
    "Segmentation",
    "Vocabulary",
    "GranularityRule",
    "EnsembleRule",
    "errors",
}


def test_these_names_are_public():
    assert set(ovseg_demo.__all__) == NAMES
    assert len(ovseg_demo.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_can_be_imported_and_is_documented(name):
    namespace = {}
    exec(f"from ovseg_demo import {name}", namespace)
    assert namespace[name] is getattr(ovseg_demo, name)
    assert namespace[name].__doc__
    assert getattr(namespace[name], "__name__", "").removeprefix("ovseg_demo.") == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="segmentor"):
        ovseg_demo.segmentor  # noqa: B018


def test_the_import_loads_nothing_heavy():
    program = "import sys, ovseg_demo; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ovseg_demo" in loaded
    assert not loaded & {"torch", "open_clip", "cv2", "gradio"}
