"""What visitors must not be able to do, tried on a real server."""

import io
from html import escape
from pathlib import Path

import httpx
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError, AuthenticationError
from PIL import Image

import ovseg_demo.ui.page
from ovseg_demo.errors import MissingDependencyError, ServerError
from ovseg_demo.ui import server as server_module
from ovseg_demo.ui.server import ServerSettings
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor, values_of
from tests.ui.serving import serve_page
from tests.ui.waiting import wait_until

HTML = "<img src=x onerror=alert(1)>"


@pytest.fixture
def image(tmp_path):
    return save_image(tmp_path / "image.png", landscape())


def post_segment(server, image):
    """Call the endpoint without the client, which would upload files and tidy up."""
    route = f"{server.url}/gradio_api/call/segment"
    event = httpx.post(route, json={"data": [image, "red", "sam", 0.8]}).json()["event_id"]
    return httpx.get(f"{route}/{event}").text


def segment(client, image, names="red, green"):
    return client.predict(handle_file(str(image)), names, api_name="/segment")


@pytest.mark.parametrize("route", ["run", "api"])
def test_the_direct_route_past_the_queue_is_closed(server, route):
    payload = {"data": [None, "red", "sam", 0.8]}
    assert httpx.post(f"{server.url}/gradio_api/{route}/segment", json=payload).status_code == 404


def test_private_events_cannot_be_called_by_name(server, client):
    names = {dependency["api_name"] for dependency in client.config["dependencies"]}
    assert {"analyze", "edit", "save"} <= names, "the page has more events than the endpoints"
    for name in names - {"segment", "suggest"}:
        with pytest.raises(ValueError, match="Cannot find a function"):
            client.predict(api_name=f"/{name}")


def test_uploads_over_20_megabytes_are_refused(server):
    def upload(megabytes):
        file = io.BytesIO(b"BM" + bytes(megabytes * 2**20))
        return httpx.post(f"{server.url}/gradio_api/upload", files={"files": ("large.png", file)})

    assert upload(21).status_code == 413
    assert upload(1).status_code == 200


def test_a_decompression_bomb_is_refused_before_it_is_decoded(server, client, tmp_path):
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(AppError, match="more than 50 million pixels"):
        segment(client, bomb)


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", b"GIF89a"])
def test_what_is_no_image_is_refused(client, tmp_path, content):
    file = tmp_path / "image.png"
    file.write_bytes(content)
    with pytest.raises((AppError, httpx.HTTPStatusError)) as refused:
        segment(client, file)
    response = getattr(refused.value, "response", None)
    assert "no image" in (response.text if response is not None else str(refused.value))


@pytest.mark.parametrize("route", ["monitoring", "monitoring/summary", "monitoring/anything"])
def test_monitoring_is_closed(server, route):
    answer = httpx.get(f"{server.url}/{route}")
    assert answer.status_code in (403, 404) or "not enabled" in answer.text
    assert "total_requests" not in answer.text


def test_nothing_is_recorded_and_nothing_is_sent_home(server):
    config = httpx.get(f"{server.url}/config").json()
    assert config["analytics_enabled"] is False
    assert config["run_history"] is False
    assert config["show_error"] is False
    assert config["space_id"] is None


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(ovseg_demo.ui.page.__file__)), "../../app.py"])
def test_files_of_the_server_are_not_served(server, path):
    answer = httpx.get(f"{server.url}/gradio_api/file={path}")
    assert answer.status_code in (403, 404)


def test_files_of_the_server_cannot_be_segmented(server, image):
    """A path that was never uploaded, such as another visitor's or the server's own."""
    foreign = {"path": str(image), "meta": {"_type": "gradio.FileData"}}
    answer = post_segment(server, foreign)
    assert "event: error" in answer
    assert "label_map" not in answer


def test_addresses_are_not_fetched(server):
    """Neither from inside the server's network, nor a file without end from outside."""
    for address in (f"{server.url}/favicon.ico", "http://example.com/image.png"):
        answer = post_segment(server, {"path": address, "meta": {"_type": "gradio.FileData"}})
        assert "event: error" in answer
        assert "Send the image itself; its address is not fetched here." in answer


def test_html_in_a_class_name_is_harmless(client, image):
    path, record = segment(client, image, f"red, {HTML}")
    assert record["categories"][1]["name"] == HTML, "JSON, which no browser takes for HTML"
    assert "<" not in Path(path).name
    with pytest.raises(AppError) as refused:
        segment(client, image, HTML + "x" * 100)
    assert HTML in str(refused.value), "text, which a program displays as text"


def test_html_in_a_message_of_the_page_is_escaped(server):
    """The page's toast displays HTML."""
    visitor = HttpVisitor(server.url)
    values = [None, *values_of(prompt="red", generator="sam", templates=HTML)]
    answer = visitor.do("analyze", [None, None, *values[1:]])
    assert not answer["success"]
    assert escape(HTML) in answer["output"]["error"]
    assert HTML not in answer["output"]["error"]


def test_temporary_files_are_deleted(monkeypatch, tmp_path, image):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    monkeypatch.setattr(ovseg_demo.ui.page, "_CLEAN_EVERY", 1)
    monkeypatch.setattr(ovseg_demo.ui.page, "_KEEP_FILES", 1)

    folder, seen = tmp_path / "gradio", set()

    def is_empty():
        files = [path for path in folder.rglob("*") if path.is_file()]
        seen.update(path.name for path in files)
        return not files

    with serve_page() as server:
        client = server.client()
        job = client.submit(handle_file(str(image)), "red, green", api_name="/segment")
        wait_until(lambda: not is_empty() and "image-label-map.png" in seen)
        assert job.result(timeout=30)
        wait_until(is_empty)
    assert seen >= {"image.png", "image-label-map.png"}


def test_a_login_keeps_others_out(image):
    with serve_page(ServerSettings(auth=(("ann", "secret"),))) as server:
        assert httpx.get(f"{server.url}/config").status_code == 401
        assert httpx.get(f"{server.url}/gradio_api/app_id").status_code == 200, "the health check's route"
        with pytest.raises((AuthenticationError, ValueError), match="Could not login"):
            server.client(auth=("ann", "wrong"))
        assert segment(server.client(auth=("ann", "secret")), image)


def test_a_port_in_use_prints_one_sentence(server):
    port = int(server.url.rpartition(":")[2])
    with (
        pytest.raises(ServerError, match=f"cannot be opened at 127.0.0.1:{port}; choose others"),
        serve_page(ServerSettings(port=port)),
    ):
        pass


def test_mcp_without_its_package_names_the_remedy(monkeypatch):
    monkeypatch.setattr(server_module, "find_spec", lambda name: None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install -r requirements-mcp\.txt"),
        serve_page(ServerSettings(mcp=True)),
    ):
        pass
