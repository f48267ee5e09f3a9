"""Visitors' files end with their page, however that ends, and other pages' files stay."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ovseg_demo.ui.visitor_files import visitor_files
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor, begun_upload, values_of
from tests.ui.waiting import wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return tmp_path / "gradio" / "ovseg-demo"


def images_in(base):
    return sorted(path.name for path in base.rglob("*.*") if path.suffix in (".png", ".jpg"))


def test_each_page_has_a_folder_of_its_own(base):
    with visitor_files() as one, visitor_files() as other:
        (one.folder / "a.png").write_bytes(b"1")
        (other.folder / "b.png").write_bytes(b"2")
        with visitor_files():
            assert images_in(base) == ["a.png", "b.png"], "a page that starts leaves the others' files"
        assert os.environ["GRADIO_TEMP_DIR"] == str(other.folder)
    assert os.environ["GRADIO_TEMP_DIR"] == str(base.parent)
    assert list(base.iterdir()) == []


def test_other_programs_files_stay(base):
    base.mkdir(parents=True)
    (base.parent / "another").mkdir()
    (base.parent / "another" / "c.png").write_bytes(b"3")
    with visitor_files():
        pass
    assert (base.parent / "another" / "c.png").exists()


def test_the_oldest_files_give_way(base):
    with visitor_files(quota=1000) as files:
        for number in range(20):
            files.make_room(100)
            path = files.folder / f"{number:02}.png"
            path.write_bytes(bytes(100))
            os.utime(path, (number, number))
        left = images_in(base)
        assert 8 <= len(left) <= 10
        assert left == [f"{number:02}.png" for number in range(20 - len(left), 20)]


def unfinished_in(base):
    """The files that uploads are written to before they are whole."""
    return [path for path in base.glob("*/*") if path.is_file()]


def start(folder, base):
    command = [sys.executable, "app.py", "--ovseg", folder / "ovseg.pth", "--sam", folder / "sam.pth"]
    environment = {
        **os.environ,
        "OVSEG_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "GRADIO_TEMP_DIR": str(base.parent),
    }
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    return process, url


@contextmanager
def work_under_way(url, base, large, small):
    """One visitor uploads, another one's overlay is made, and a third one's analysis has just been begun."""
    one, other = HttpVisitor(url), HttpVisitor(url)
    names = values_of(prompt="red, green", generator="maskformer")
    assert one.do("analyze", [None, one.uploaded(large), *names])["success"]
    stored = other.uploaded(small)
    with begun_upload(url):
        wait_until(lambda: len(unfinished_in(base)) == 1)
        assert one.join("save", event_data={"kind": "overlay"}).status_code == 200
        one.wait_for("Writing the file")
        assert other.join("analyze", [None, stored, *names]).status_code == 200
        other.wait_for("image.jpg")  # the image is decoded, its masks are not there yet
        yield


def test_nothing_is_left_after_sigterm_and_after_sigkill_and_a_new_start(tmp_path, base):
    save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
    save_tiny_sam(tmp_path / "sam.pth")
    images = [
        save_image(tmp_path / f"{name}.png", landscape(*size))
        for name, size in {"large": (4000, 3000), "small": (320, 200)}.items()
    ]

    process, url = start(tmp_path, base)
    try:
        with work_under_way(url, base, *images):
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        assert {"large.png", "small.png"} < set(images_in(base)), "a killed process deletes nothing"
        assert len(unfinished_in(base)) == 1
        assert not list(base.rglob("*overlay*")), "and no file is there in part"
    finally:
        process.kill()

    process, url = start(tmp_path, base)
    try:
        assert images_in(base) == unfinished_in(base) == [], "but the next start does"
        with (
            work_under_way(url, base, *images),
            httpx.stream("GET", f"{url}/gradio_api/upload_progress", params={"upload_id": "x"}, timeout=60),
        ):
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert list(base.iterdir()) == []
    finally:
        process.kill()
