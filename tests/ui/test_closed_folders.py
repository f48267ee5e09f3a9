"""A disk that is full, or a folder that is read-only, while visitors upload, analyze and export."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest

from ovseg_demo.errors import ServerError
from ovseg_demo.ui.failures import NO_DISK
from ovseg_demo.ui.visitor_files import visitor_files
from tests.closed_folders import full_disk, read_only, small_disk
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor, values_of
from tests.ui.serving import serve_page


@pytest.fixture
def base(monkeypatch):
    """Others may read it, unlike pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("GRADIO_TEMP_DIR", folder)
        yield Path(folder)


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(params=[full_disk, read_only, "small disk"])
def closed(request, base):
    """A context manager that closes a folder in ``base``."""
    if request.param != "small disk":
        yield request.param
        return
    with small_disk(base, 8 * 2**20) as disk:
        yield disk.filled


def test_each_action_has_one_sentence_and_leaves_nothing(base, tmp_path, caplog, closed):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    other = save_image(base / "other.png", noise)
    with visitor_files() as files, serve_page(files=files) as server:
        visitor, second = HttpVisitor(server.url), HttpVisitor(server.url)
        image = visitor.uploaded(save_image(tmp_path / "image.png", landscape()))
        values = [None, image, *values_of(prompt="red, blue")]
        assert visitor.do("analyze", values)["success"]
        before = content(files.folder)
        with closed(files.folder), caplog.at_level(logging.ERROR):
            answer = visitor.upload(other)
            assert (answer.status_code, answer.text) == (507, NO_DISK)
            for failed in (
                second.do("analyze", values),
                visitor.do("save", event_data={"kind": "label-map"}),
            ):
                assert not failed["success"] and failed["output"]["error"] == NO_DISK
            kind, answer = visitor.call(image, "red")
            assert (kind, answer["error"]) == ("error", NO_DISK)
        assert len(caplog.records) == 4
        assert all(record.exc_info is None for record in caplog.records)
        assert content(files.folder) == before
        assert second.do("analyze", values)["success"]
        assert visitor.do("save", event_data={"kind": "label-map"})["success"]
        assert visitor.upload(other).status_code == 200
        assert visitor.call(image, "red")[0] == "complete"


def test_a_page_without_a_folder_for_visitors_files_does_not_open(base):
    with (
        read_only(base),
        pytest.raises(ServerError, match=r"cannot be stored in.*set GRADIO_TEMP_DIR"),
        visitor_files(),
    ):
        pass
