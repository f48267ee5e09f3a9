"""The Space, the container and the pages that explain them say what the program does."""

import re
from pathlib import Path

import pytest

from ovseg_demo.ui.options import read_options
from ovseg_demo.ui.settings import PageSettings

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def front_matter():
    _, lines, _ = read("README.md").split("---\n", 2)
    return dict(re.fullmatch(r'(\w+): "?([^"]+)"?', line).groups() for line in lines.splitlines())


def pinned(package):
    return re.search(rf"^{package}==(.+)$", read("constraints.txt"), re.MULTILINE)[1]


def test_the_space_gets_the_versions_that_are_tested():
    space = front_matter()
    assert (space["sdk"], space["sdk_version"]) == ("gradio", pinned("gradio"))
    assert f'requires-python = ">={space["python_version"]}"' in read("pyproject.toml")
    assert (ROOT / space["app_file"]).is_file()
    assert space["license"] == "apache-2.0"
    assert len(space["short_description"]) <= 60, "longer ones are refused"


def test_the_container_has_all_that_the_page_needs():
    dockerfile, ignored = read("Dockerfile"), read(".dockerignore")
    copied = [
        name for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for name in line.split()
    ]
    assert {"app.py", "ovseg_demo", "examples", "weights", "requirements.txt", "constraints.txt"} <= set(
        copied
    )
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}\n" in ignored
    assert f"FROM python:{front_matter()['python_version']}-slim" in dockerfile


def test_the_container_serves_all_its_networks_and_asks_the_right_port():
    dockerfile = read("Dockerfile")
    environment = dict(re.findall(r"(OVSEG_\w+)=(\S+)", dockerfile))
    server = read_options([], environment).server
    assert server.host == "0.0.0.0"
    assert f"EXPOSE {server.port}" in dockerfile
    assert "/gradio_api/app_id" in dockerfile, "the route that tests/ui/test_server.py finds open and cheap"


def test_the_page_of_options_names_all_of_them(capsys):
    with pytest.raises(SystemExit):
        read_options(["--help"], {})
    options = set(re.findall(r"^  (--[a-z0-9-]+)", capsys.readouterr().out, re.MULTILINE))
    explained = set(re.findall(r"`(--[a-z0-9-]+)", read("docs/deployment.md")))
    assert options == explained
    assert len(options) > 15


def test_the_pages_tell_the_limits_that_hold():
    defaults = PageSettings()
    for page in (read("docs/api.md"), read("docs/deployment.md")):
        assert f"{defaults.max_names} names" in page
        assert f"{defaults.max_pixels // 10**6} million pixels" in page
        assert f"{defaults.max_side}" in page


@pytest.mark.parametrize("page", ["docs/api.md", "docs/deployment.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", read(page)):
        assert (ROOT / page).parent.joinpath(target).exists()
