"""docs/reference/python.md documents the public API, all of it and nothing else."""

import inspect
import re

import pytest

import ovseg_demo
from ovseg_demo import errors
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_public_name_has_a_section():
    assert sorted(SECTIONS) == sorted(ovseg_demo.__all__)


@pytest.mark.parametrize("name", ["Segmenter", "Analysis", "Segmentation", "Vocabulary"])
def test_each_public_attribute_is_documented(name):
    owner = getattr(ovseg_demo, name)
    public = {attribute for attribute in vars(owner) if not attribute.startswith("_")}
    public |= set(getattr(owner, "__dataclass_fields__", ()))
    documented = set(re.findall(r"`(?:\w+\.)?(\w+)", SECTIONS[name]))
    assert public <= documented


@pytest.mark.parametrize("name", ["load_segmenter", "GranularityRule", "EnsembleRule"])
def test_each_argument_is_documented(name):
    for argument in inspect.signature(getattr(ovseg_demo, name)).parameters:
        assert re.search(rf"\b{argument}\b", SECTIONS[name])


def test_each_error_is_documented():
    kinds = {kind for kind, value in vars(errors).items() if inspect.isclass(value)}
    assert kinds == set(re.findall(r"`(?:errors\.)?([A-Z]\w+)`", SECTIONS["errors"]))
