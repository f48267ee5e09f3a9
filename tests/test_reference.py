"""The reference pages document the public API and the command line, all of them and nothing else."""

import argparse
import inspect
import re

import pytest

import ovseg_demo
from ovseg_demo import errors
from ovseg_demo.cli import download, segment
from ovseg_demo.cli.model_arguments import add_model_arguments
from ovseg_demo.evaluation import command as evaluate
from ovseg_demo.progress import no_progress
from tests.paths import ROOT


def read(name):
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


def split(page, level):
    """Return the text below each heading of a level that is a single word, up to the next one."""
    marks = "#" * level
    return dict(re.findall(rf"^{marks} (\S+)\n(.*?)(?=^#{{1,{level}}} |\Z)", page, re.MULTILINE | re.DOTALL))


SECTIONS = split(read("python.md"), 2)
CLASSES = ["Segmenter", "Analysis", "Segmentation", "Vocabulary"]
TYPES = {"Proposals"}
"""Sub-sections that document a type rather than a method."""


def parameters_of(function):
    """Return the parameters of a function with their defaults, without ``self``."""
    parameters = inspect.signature(function).parameters
    return [(name, parameter.default) for name, parameter in parameters.items() if name != "self"]


def documented_parameters(text, name):
    """Return the same of the signature in a section's code block."""
    code = re.search(rf"```python\n(?:\w+\.)?{name}\((.*?)\)(?: ->|\n```)", text, re.DOTALL)[1]
    namespace = {"no_progress": no_progress}
    exec(f"def function({code}): pass", namespace)
    return parameters_of(namespace["function"])


def public_members(owner):
    """Return the methods of a class, and its other attributes."""
    names = {name for name in vars(owner) if not name.startswith("_")}
    methods = {name for name in names if callable(getattr(owner, name))}
    return methods, names - methods | set(getattr(owner, "__dataclass_fields__", ()))


def test_each_public_name_has_a_section():
    assert sorted(SECTIONS) == sorted(ovseg_demo.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_the_members_of_a_class_are_documented(name):
    methods, attributes = public_members(getattr(ovseg_demo, name))
    sections = split(SECTIONS[name], 3)
    table = SECTIONS[name].partition("### ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert sections.keys() - TYPES == methods
    assert set(re.findall(r"`(\w+)`", " ".join(first_cells))) == attributes


@pytest.mark.parametrize("name", CLASSES)
def test_the_signatures_of_methods_are_documented(name):
    owner = getattr(ovseg_demo, name)
    for method in public_members(owner)[0] - {"overlay"}:
        section = split(SECTIONS[name], 3)[method]
        assert documented_parameters(section, method) == parameters_of(getattr(owner, method))


def test_the_options_of_an_overlay_are_documented():
    from ovseg_demo.visualization.rendering import render_overlay

    options = [option for option in parameters_of(render_overlay) if option[1] is not inspect.Parameter.empty]
    assert documented_parameters(split(SECTIONS["Segmentation"], 3)["overlay"], "overlay") == options


@pytest.mark.parametrize("name", ["load_segmenter", "Predictor", "GranularityRule", "EnsembleRule"])
def test_the_arguments_of_functions_and_rules_are_documented(name):
    parameters = parameters_of(getattr(ovseg_demo, name))
    assert documented_parameters(SECTIONS[name], name) == parameters
    explanation = SECTIONS[name].split("```")[2]
    assert {parameter for parameter, _ in parameters} <= set(re.findall(r"`(\w+)`", explanation))


def test_each_error_is_documented():
    kinds = {kind for kind, value in vars(errors).items() if inspect.isclass(value)}
    assert kinds == set(re.findall(r"`(?:errors\.)?([A-Z]\w+)`", SECTIONS["errors"]))


@pytest.mark.parametrize(
    ("name", "add_arguments"),
    [
        ("segment", segment.add_arguments),
        ("download", download.add_arguments),
        ("evaluate", evaluate.add_arguments),
    ],
)
def test_the_options_of_a_command_are_documented(name, add_arguments):
    def options_of(add):
        parser = argparse.ArgumentParser(add_help=False)
        add(parser)
        return {option for action in parser._actions for option in action.option_strings}

    page = read("cli.md")
    of_the_model = set(
        re.findall(r"`(--[a-z0-9-]+)", page.partition("## Model options")[2].partition("\n## ")[0])
    )
    assert of_the_model == options_of(add_model_arguments)
    assert (
        set(re.findall(r"`(--[a-z0-9-]+)", split(page, 2)[name])) == options_of(add_arguments) - of_the_model
    )
