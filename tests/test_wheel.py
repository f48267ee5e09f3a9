"""The wheel, installed in an environment of its own, works far from the checkout."""

import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import httpx
import pytest

from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.models.weights_files import BUNDLED_WEIGHTS
from ovseg_demo.ui.examples import load_examples
from tests.paths import ROOT

BUNDLED = "ovseg_demo/_bundled"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def home(tmp_path_factory, wheel):
    """An environment with the wheel and with the packages of this one, but without the checkout."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "env")
    scheme = {"base": str(home / "env"), "platbase": str(home / "env")}
    site_packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    tested = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "tested.pth").write_text("\n".join(tested))
    python = Path(sysconfig.get_path("scripts", "venv", scheme)) / "python"
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel])
    return home


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def surroundings(home):
    """A user's shell in an empty folder: nothing in it points to the checkout."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OVSEG_", "PYTHONPATH"))
    }
    return {"cwd": home, "env": kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}}


def program(home, name):
    return home / "env" / ("Scripts" if os.name == "nt" else "bin") / name


def test_the_wheel_has_all_that_the_program_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "ovseg_demo"
    code = {f for f in package.rglob("*") if f.is_file() and f.suffix not in (".pyc", ".pyi")}
    assert names >= {file.relative_to(ROOT).as_posix() for file in code}
    weights = {file for spec in CATALOGUE.values() for file in spec.parts.values() if file.bundled}
    assert weights
    assert names >= {f"{BUNDLED}/weights/{f.path().relative_to(BUNDLED_WEIGHTS).as_posix()}" for f in weights}
    assert names >= {f"{BUNDLED}/examples/{example.path.name}" for example in load_examples()}
    assert not [name for name in names if "downloaded" in name or name.startswith("tests")]


def test_the_installed_command_segments_an_example(home):
    where = (
        "from ovseg_demo.models.weights_files import weights_folder\n"
        "from ovseg_demo.runtime.resources import bundled\n"
        "print(bundled('examples'), weights_folder(), sep='\\n')"
    )
    python = program(home, "python")
    examples, downloads = map(Path, run([python, "-c", where], **surroundings(home)).splitlines())
    assert examples.is_relative_to(home.resolve() / "env")
    assert downloads == home / "cache" / "ovseg-demo" / "weights"
    example = json.loads((examples / "manifest.json").read_text(encoding="utf-8"))[0]
    options = ["--classes", example["classes"], "--output", "out"]
    command = [program(home, "ovseg"), "segment", examples / example["image"], *options]
    assert "%" in run(command, **surroundings(home))
    assert next((home / "out").rglob("label_map.png")).stat().st_size > 0


def test_the_installed_command_serves_the_page(home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [program(home, "ovseg"), "serve", "--port", port]
    with subprocess.Popen(command, **surroundings(home)) as server:
        try:
            page = wait_for(f"http://127.0.0.1:{port}", server)
            assert "OVSeg" in page
            assert all(example.title in page for example in load_examples() if example.kind == "photograph")
        finally:
            server.kill()


def wait_for(address, server):
    while server.poll() is None:
        try:
            return httpx.get(address, timeout=60).text
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the server ended before it answered")
