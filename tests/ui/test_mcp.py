"""Language models see the endpoint, and nothing else. Runs where requirements-mcp.txt is installed."""

import ast
import asyncio
import base64

import httpx
import pytest

from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.ui.server import ServerSettings
from tests.ui.colour_world import landscape, save_image
from tests.ui.serving import serve_page

mcp = pytest.importorskip("mcp", reason="MCP is not installed (requirements-mcp.txt)")


async def talk(url, conversation):
    from mcp.client.streamable_http import streamablehttp_client

    async with (
        streamablehttp_client(f"{url}/gradio_api/mcp/") as (read, write, _),
        mcp.ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await conversation(session)


@pytest.fixture(scope="module")
def server():
    with serve_page(ServerSettings(mcp=True)) as server:
        yield server


def test_the_endpoints_are_the_only_tools(server):
    async def conversation(session):
        return (await session.list_tools()).tools

    segment, suggest = asyncio.run(talk(server.url, conversation))
    assert segment.name.endswith("segment")
    assert set(segment.inputSchema["properties"]) == {
        "image", "prompt", "generator", "granularity", "format", "points_per_side"
    }  # fmt: skip
    assert suggest.name.endswith("suggest")
    assert set(suggest.inputSchema["properties"]) == {"image", "generator", "count"}


def test_a_language_model_segments_an_image(server, tmp_path):
    image = save_image(tmp_path / "house.png", landscape())
    address = f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"

    async def conversation(session):
        tool, _ = (await session.list_tools()).tools
        arguments = {"image": address, "prompt": "red, green", "generator": "sam", "granularity": 0.5}
        polygons = await session.call_tool(tool.name, arguments | {"format": "coco-polygons"})
        return await session.call_tool(tool.name, arguments), polygons

    answer, polygons = asyncio.run(talk(server.url, conversation))
    assert not answer.isError, answer
    file, _ = ast.literal_eval(polygons.content[0].text)
    assert httpx.get(file["url"]).json()["annotations"][0]["segmentation"][0][:2]
    file, record = ast.literal_eval(answer.content[0].text)
    assert [entry["name"] for entry in record["categories"]] == ["red", "green"]
    label_map, _ = decode_label_map(httpx.get(file["url"]).content)
    assert label_map.shape == (240, 320)
