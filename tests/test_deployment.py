"""The Space, the container and the pages that explain them say what the program does."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
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


def copied_into_the_container():
    lines = re.findall(r"^COPY (.+) \S+$", read("Dockerfile"), re.MULTILINE)
    return [name for line in lines for name in line.split()]


def test_the_container_has_all_that_the_page_needs():
    dockerfile, ignored = read("Dockerfile"), read(".dockerignore")
    copied = copied_into_the_container()
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


def test_the_files_of_the_container_serve_the_page(tmp_path):
    """Its files, variables, command and health check, without the container."""
    for name in copied_into_the_container():
        if (ROOT / name).is_dir():
            skipped = shutil.ignore_patterns("downloaded", "__pycache__", "*.py[ci]")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    dockerfile = read("Dockerfile")
    variables = dict(re.findall(r"^(?:ENV)? +([A-Z_]+)=(\S+)", dockerfile, re.MULTILINE))
    variables |= {"OVSEG_PORT": port, "OVSEG_WEIGHTS_DIR": str(tmp_path / "downloaded")}
    health, command = (
        [sys.executable, *json.loads(line)[1:]] for line in re.findall(r"CMD (\[.+\])$", dockerfile, re.M)
    )
    surroundings = {"cwd": tmp_path, "env": os.environ | variables}
    with subprocess.Popen(command, **surroundings) as server:
        try:
            while (
                server.poll() is None
                and subprocess.run(health, stderr=subprocess.PIPE, **surroundings).returncode
            ):
                time.sleep(0.5)
            assert server.poll() is None, "the server ended before it was healthy"
            assert "OVSeg" in httpx.get(f"http://127.0.0.1:{port}").text
        finally:
            server.kill()


def test_the_page_of_options_names_all_of_them(capsys):
    with pytest.raises(SystemExit):
        read_options(["--help"], {})
    help_text = capsys.readouterr().out
    options = set(re.findall(r"^  (--[a-z0-9-]+)", help_text, re.MULTILINE))
    explained = set(re.findall(r"`(--[a-z0-9-]+)", read("docs/how-to/deploy.md")))
    assert options <= explained
    assert all(option in help_text for option in explained)
    assert len(options) > 15


def test_the_pages_state_the_limits_that_hold():
    defaults = PageSettings()
    for page in (read("docs/reference/http-api.md"), read("docs/how-to/deploy.md")):
        assert f"{defaults.max_names} names" in page
        assert f"{defaults.max_pixels // 10**6} million pixels" in page
        assert f"{defaults.max_side}" in page


@pytest.mark.parametrize("page", ["docs/reference/http-api.md", "docs/how-to/deploy.md"])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", read(page)):
        assert (ROOT / page).parent.joinpath(target).exists()
