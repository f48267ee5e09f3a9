"""What programs send wrongly is answered with a sentence that tells the remedy, and is a line in the log."""

import asyncio
import json
import logging

import pytest

from ovseg_demo.ui.server import ServerSettings
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor, begun_upload, values_of
from tests.ui.serving import serve_page
from tests.ui.waiting import wait_until


@pytest.fixture
def program(server):
    return HttpVisitor(server.url)


@pytest.fixture
def uploaded(program, tmp_path):
    return program.uploaded(save_image(tmp_path / "image.png", landscape()))


@pytest.mark.parametrize(
    ("rest", "sentence"),
    [
        (({"a": 1},), '{"a": 1} is no text; send class names, such as "frog, cup", or a list of them.'),
        (([1, "red"],), '[1, "red"] is no text; send class names, such as "frog, cup", or a list of them.'),
        (("red", 5), '5 is no text; send the name of a generator, such as "sam".'),
        (("red", "sam", "much"), '"much" is no number; send a granularity from 0 to 1.'),
        (("red", "sam", True), "true is no number; send a granularity from 0 to 1."),
        (("",), 'No class name was given; type at least one, such as "dog, grass".'),
        (("<&" + "a" * 101,), 'Left out: "<&aaa'),
    ],
)
def test_a_wrong_value_is_named(program, uploaded, caplog, rest, sentence):
    kind, answer = program.call(uploaded, *rest)
    assert kind == "error"
    assert sentence in answer["error"]
    assert "&quot;" not in answer["error"] and "&lt;" not in answer["error"]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage().startswith("refused segment: ")
    assert record.exc_info is None and "\n" not in record.getMessage()


@pytest.mark.parametrize("data", [[], [None]])
def test_too_few_values_are_reported(program, data):
    kind, answer = program.call(*data)
    assert kind == "error"
    assert answer["error"].startswith(f"{len(data)} values were sent; the endpoint needs two")


@pytest.mark.parametrize("image", ["/etc/passwd", 7, {"meta": {"_type": "gradio.FileData"}}, ["x"]])
def test_what_is_no_upload_is_reported(program, image):
    kind, answer = program.call(image, "red")
    assert kind == "error"
    assert "is no uploaded file; upload the image" in answer["error"]


@pytest.mark.parametrize("meta", [{"_type": "gradio.FileData"}, {}, None])
def test_a_path_of_the_server_is_reported(program, meta):
    kind, answer = program.call({"path": "/etc/passwd", "meta": meta}, "red")
    assert kind == "error"
    assert "upload" in answer["error"]


@pytest.mark.parametrize("meta", [{}, {"_type": "gradio.FileData"}, {"_type": "other"}, None])
def test_the_page_opens_no_other_file_of_the_server(server, tmp_path, meta):
    """Whatever the record of the file says of itself."""
    secret = save_image(tmp_path / "secret.png", landscape())
    visitor = HttpVisitor(server.url)
    visitor.join("analyze", [None, {"path": str(secret), "meta": meta}, *values_of(prompt="red")])
    messages = visitor.messages()
    assert not messages[-2]["success"]
    assert "data" not in str([message.get("output") for message in messages if message.get("success")])


@pytest.mark.parametrize("names", [["red", "green"], '["red", "green"]', '[ "red" , "green / lime" ]'])
def test_a_list_is_a_list_of_class_names(program, uploaded, names):
    kind, (_, record) = program.call(uploaded, names)
    assert kind == "complete"
    assert [entry["name"] for entry in record["categories"]] == ["red", "green"]


def test_a_name_of_a_list_may_contain_a_comma(program, uploaded):
    _, (_, record) = program.call(uploaded, ["red, or so", "green"])
    assert [entry["name"] for entry in record["categories"]] == ["red, or so", "green"]


def test_a_text_in_brackets_is_a_text(program, uploaded):
    _, (_, record) = program.call(uploaded, "[red, green]")
    assert len(record["categories"]) == 2


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"dat": 1}', b'{"data": 5}', b"\xff\xfe"])
@pytest.mark.parametrize("route", ["call/segment", "queue/join"])
def test_a_body_that_is_no_call_is_reported(program, route, body):
    answer = program.http.post(
        f"gradio_api/{route}", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"].startswith('The body is no call; send JSON such as {"data": [')


@pytest.mark.parametrize("route", ["call/nothing", "call/v2/nothing"])
def test_an_unknown_endpoint_is_reported(program, route):
    answer = program.http.post(f"gradio_api/{route}", json={"data": []})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no such endpoint; this page has /segment and /suggest."


def test_a_fault_of_the_program_leaves_its_traceback_and_a_sentence(tmp_path, caplog):
    with serve_page() as server:
        server.segmenter.segment = lambda *arguments, **options: 1 / 0
        program = HttpVisitor(server.url)
        kind, answer = program.call(program.uploaded(save_image(tmp_path / "image.png", landscape())), "red")
    assert (kind, answer["error"]) == (
        "error",
        "The server failed at this; its operator finds the reason in its log.",
    )
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info[0] is ZeroDivisionError


def test_memory_that_is_short_is_a_sentence_and_one_line_in_the_log(tmp_path, caplog):
    def fail(*arguments, **options):
        raise MemoryError

    with serve_page() as server:
        server.segmenter.segment = fail
        program = HttpVisitor(server.url)
        kind, answer = program.call(program.uploaded(save_image(tmp_path / "image.png", landscape())), "red")
    assert kind == "error"
    assert answer["error"].startswith("The server has too little memory for this now; try again later")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is None


def test_an_upload_that_breaks_off_is_one_line_in_the_log(tmp_path, monkeypatch, caplog):
    with serve_page() as server:
        for _ in range(3):
            begun_upload(server.url).close()
        wait_until(lambda: len(caplog.records) >= 3)
    assert [record.getMessage() for record in caplog.records] == [
        "refused an upload: The upload broke off."
    ] * 3
    assert all(record.exc_info is None for record in caplog.records)


def test_language_models_get_the_sentence_too():
    mcp = pytest.importorskip("mcp", reason="MCP is not installed (requirements-mcp.txt)")
    from mcp.client.streamable_http import streamablehttp_client

    async def ask(url):
        async with (
            streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            tool, _ = (await session.list_tools()).tools
            return await session.call_tool(tool.name, {"image": None, "prompt": '"red"'})

    with serve_page(ServerSettings(mcp=True)) as server:
        answer = asyncio.run(ask(server.url))
    assert answer.isError
    text = json.dumps([part.text for part in answer.content])
    assert "There is no image" in text
    assert "show_error" not in text


def test_wrong_arguments_by_name_are_reported(program):
    answer = program.http.post("gradio_api/call/v2/segment", json={"imaged": None, "prompt": "red"})
    assert answer.status_code == 400
    assert "imaged" in answer.json()["detail"]
