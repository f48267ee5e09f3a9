"""The README is correct: its commands run, its code runs, its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest

from ovseg_demo.cli.main import main
from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.ui.options import read_options
from tests.cli.test_main import save_image
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.replace("\\\n", "").splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with all that the README names, at tiny size; models have the shapes of their files."""
    folder = tmp_path_factory.mktemp("readme")
    for path in ("photo.jpg", "holiday/beach.jpg", "more/harbour.png"):
        (folder / path).parent.mkdir(exist_ok=True)
        save_image(folder / path)
    weights = CATALOGUE["ovseg-r101c-vitb16"].required
    for name in ("ovseg.pth", weights["ovseg"].name):
        save_tiny_ovseg(folder / name)
    for name in ("sam.pth", weights["sam"].name):
        save_tiny_sam(folder / name)
    return folder


@pytest.fixture
def in_place(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(place))
    return place


@pytest.mark.parametrize("command", commands())
def test_each_command_works(command, in_place, monkeypatch, capsys):
    arguments = shlex.split(command)
    if arguments[0] == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{target}: \$\(READY\)$", makefile, re.MULTILINE) for target in arguments[1:])
    elif arguments[:2] in (["python", "app.py"], ["ovseg", "serve"]):
        with pytest.raises(SystemExit):
            read_options(["--help"], {})
        help_text = capsys.readouterr().out
        assert all(option in help_text for option in arguments[2:])  # that it starts is tested with a browser
    elif arguments[:5] == ["python", "-m", "pip", "install", "-r"]:
        assert all((ROOT / name).is_file() for name in arguments[5::2])
        assert f"-r {arguments[5]}" in (ROOT / "requirements-dev.txt").read_text(), "make installs it, too"
    else:
        arguments = arguments if arguments[0] != "ovseg" else ["python", "-m", "ovseg_demo", *arguments[1:]]
        assert arguments[:3] == ["python", "-m", "ovseg_demo"], "a kind of command that no test runs yet"
        downloaded = []
        monkeypatch.setattr(
            "ovseg_demo.cli.download.download_model",
            lambda spec, **_: downloaded.append(spec.name) or {},  # what it does is tested where it is
        )
        assert main(arguments[3:]) == 0
        assert downloaded == [argument for argument in arguments[4:] if arguments[3] == "download"]
        assert capsys.readouterr().out or downloaded


def test_the_python_example_works(in_place, capsys):
    (example,) = blocks("python")
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].class_names == ("saturn v", "toys", "desk")
    files = {path.name for path in (in_place / "out").iterdir()}
    assert files >= {"label_map.png", "overlay.png", "segmentation.json"}
    assert capsys.readouterr().out.count("of the image, score") == 4


def test_all_models_are_in_the_table():
    table = README.partition("## Models")[2].partition("##")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", table)) == set(CATALOGUE)
    for name, spec in CATALOGUE.items():
        row = next(line for line in table.splitlines() if f"`{name}`" in line)
        first_licence = spec.licence.split(" (")[0]
        assert first_licence in row


def test_all_links_into_the_repository_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
