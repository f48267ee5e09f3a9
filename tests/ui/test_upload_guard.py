"""What may be uploaded, tried on a real server."""

import io
import time
from dataclasses import replace

import httpx
import pytest
from PIL import Image

from ovseg_demo.ui.clients import RateLimit
from ovseg_demo.ui.server import ServerSettings
from ovseg_demo.ui.upload_guard import UploadLimits
from ovseg_demo.ui.visitor_files import visitor_files
from tests.ui.colour_world import landscape
from tests.ui.http_visitor import begun_upload
from tests.ui.serving import serve_page
from tests.ui.waiting import wait_until


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return tmp_path / "gradio"


def encoded(kind="PNG", padding=0):
    buffer = io.BytesIO()
    Image.fromarray(landscape()).save(buffer, kind)
    return buffer.getvalue() + bytes(padding)


def post(server, *contents):
    files = [("files", (f"{index}.png", content)) for index, content in enumerate(contents)]
    return httpx.post(f"{server.url}/gradio_api/upload", files=files, timeout=60)


def stored(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def limited(**limits):
    return serve_page(ServerSettings(uploads=replace(UploadLimits(), **limits)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF"])
def test_images_are_taken(server, kind):
    assert post(server, encoded(kind)).status_code == 200


@pytest.mark.parametrize("content", [b"<svg/>", b"", b"PK\3\4", bytes(2**20), b"%PDF-1.7", b"\x89PN"])
def test_what_is_no_image_is_not_stored(folder, content):
    with serve_page() as server:
        answer = post(server, encoded(), content)
        assert answer.status_code == 400
        assert answer.text == "The file is no image; send a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC."
        assert stored(folder) == []


def test_a_request_has_few_files(folder):
    with serve_page() as server:
        assert post(server, *[encoded()] * 4).status_code == 200
        before = len(stored(folder))
        answer = post(server, *[encoded(padding=index) for index in range(1, 31)])
        assert (answer.status_code, answer.text) == (400, "An upload may have 4 files; send fewer at a time.")
        assert len(stored(folder)) == before


def test_files_of_a_request_are_bounded_together(folder):
    with limited(request_bytes=2**20) as server:
        answer = post(server, encoded(padding=2**19), encoded(padding=2**19))
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("An upload may have 1 MB")

        def pieces():
            yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
            yield encoded(padding=2**21)
            yield b"\r\n--b--\r\n"

        unmeasured = httpx.post(
            f"{server.url}/gradio_api/upload",
            content=pieces(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert unmeasured.status_code == 413
        assert stored(folder) == []


def test_an_address_uploads_at_a_bounded_rate(folder):
    size = len(encoded())
    with limited(rate=RateLimit(burst=2.5 * size, per_second=1)) as server:
        codes = [post(server, encoded()).status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        answer = post(server, encoded())
        assert answer.json()["detail"].startswith("Your address has uploaded much lately; try again in ")
        assert int(answer.headers["Retry-After"]) > 0


def test_slow_uploads_are_few_and_end(folder):
    with limited(at_once=2, seconds=1.0) as server:
        slow = [begun_upload(server.url) for _ in range(2)]
        wait_until(lambda: len(stored(folder)) == 2)
        assert post(server, encoded()).status_code == 429
        assert [connection.recv(100)[9:12] for connection in slow] == [b"400", b"400"]
        wait_until(lambda: stored(folder) == [])
        assert post(server, encoded()).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(folder):
    with serve_page() as server:
        connection = begun_upload(server.url)
        wait_until(lambda: len(stored(folder)) == 1)
        connection.close()
        wait_until(lambda: stored(folder) == [])


def test_a_call_has_a_bounded_body(server):
    body = b'{"data": ["' + b"a" * 2**20 + b'"]}'
    answer = httpx.post(f"{server.url}/gradio_api/call/segment", content=body)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "A call may have 1 MB; upload the image, and send its path."
    streamed = httpx.post(f"{server.url}/gradio_api/call/segment", content=iter([body[:-100], body[-100:]]))
    assert streamed.status_code == 413


def test_all_files_together_stay_below_the_quota(folder):
    size = 100_000
    with (
        visitor_files(quota=30 * size) as files,
        serve_page(
            ServerSettings(uploads=replace(UploadLimits(), request_bytes=2 * size)), files=files
        ) as server,
    ):
        paths = []
        for index in range(60):
            (path,) = post(server, encoded(padding=size - index)).raise_for_status().json()
            paths.append(path)
            assert sum(file.stat().st_size for file in stored(files.folder)) <= 30 * size
            time.sleep(0.01)
        left = {str(path) for path in stored(files.folder)}
        assert paths[-1] in left and paths[0] not in left, "the oldest give way"
    assert not files.folder.exists()
