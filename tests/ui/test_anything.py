"""Whatever is sent to the page or the endpoint, the answer is a result or a sentence that names a remedy."""

import json
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_demo.errors import OvsegError
from ovseg_demo.ui import admission
from ovseg_demo.ui.api import complete_inputs
from ovseg_demo.ui.clients import RateLimit
from ovseg_demo.ui.failures import FAILED
from ovseg_demo.ui.request import DISTRACTORS, Request
from tests.ui.colour_world import landscape, save_image
from tests.ui.http_visitor import HttpVisitor
from tests.ui.serving import serve_page

TEXT = st.text(st.characters(), max_size=30)  # halves of surrogate pairs, too
NUMBERS = st.integers() | st.integers(10**308, 10**310) | st.floats()
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["red", "red, blue | sky blue", '["red", "blue"]', "😀"])
FIELDS = [*Request.__dataclass_fields__, "words", "own", "other"]
EVENT_DATA = st.fixed_dictionaries(
    {}, optional={name: JSON | st.integers(-1, 400) for name in ("x", "y", "index", "kind", "run", "on")}
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_link_or_memory_of_a_browser_gives_a_request(saved):
    request = Request.restore(saved)
    request.check()
    try:
        request.vocabulary(300)
    except OvsegError as error:
        assert len(str(error)) > 20


@given(st.lists(JSON, max_size=5))
def test_any_arguments_of_the_endpoint_are_completed_or_refused(values):
    try:
        assert len(complete_inputs(values)) == 6
    except OvsegError as error:
        assert len(str(error)) > 20


@pytest.fixture(scope="module")
def stranger():
    """Its events all have sessions of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(admission, "NEW_SESSIONS", RateLimit(burst=10_000, per_second=10_000))
        with serve_page() as server:
            yield HttpVisitor(server.url)


@pytest.fixture(scope="module")
def image(stranger, tmp_path_factory):
    return stranger.uploaded(save_image(tmp_path_factory.mktemp("images") / "image.png", landscape()))


def post(stranger, route, body):
    """Send JSON that has what httpx refuses to write: NaN, and halves of surrogate pairs."""
    headers = {"Content-Type": "application/json"}
    return stranger.http.post(f"gradio_api/{route}", content=json.dumps(body), headers=headers)


@settings(max_examples=25)
@given(st.data())
def test_any_call_of_the_endpoint_has_a_result_or_a_sentence(stranger, image, data):
    inputs = st.tuples(st.just(image), NAMES | JSON, st.none() | JSON, st.floats(0, 1) | JSON).map(list)
    answer = post(stranger, "call/segment", {"data": data.draw(inputs | st.lists(JSON, max_size=5))})
    if answer.status_code != 200:
        assert answer.status_code < 500 and len(answer.json()["detail"]) > 20
        return
    kind, result = stranger.result(answer.json()["event_id"])
    assert kind == "complete" or (len(result["error"]) > 20 and result["error"] != FAILED)


@settings(max_examples=50)
@given(st.data())
def test_any_event_of_the_page_has_a_result_or_a_sentence(stranger, image, data):
    name = data.draw(st.sampled_from(sorted(stranger.events.keys() - {"segment", "suggest"})))
    count = len(stranger.events[name]["inputs"])
    names, chosen = NAMES | TEXT, st.sampled_from(DISTRACTORS)
    request = st.tuples(names, st.just("sam"), st.floats(0, 1), st.none(), st.none(), chosen, TEXT, st.none())
    likely = request.map(lambda values: [None, image, *values][:count])
    values = data.draw(likely | st.lists(JSON, max_size=count + 1))
    stranger.session = uuid.uuid4().hex
    body = {"data": values, "fn_index": stranger.events[name]["id"], "session_hash": stranger.session}
    answer = post(stranger, "queue/join", body | {"event_data": data.draw(JSON | EVENT_DATA)})
    if answer.status_code != 200:
        assert answer.status_code < 500 and len(answer.json()["detail"]) > 20
        return
    last = [one for one in stranger.messages() if one["msg"] == "process_completed"][-1]
    assert last["success"] or (len(last["output"]["error"]) > 20 and last["output"]["error"] != FAILED)
