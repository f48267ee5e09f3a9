import pytest

from ovseg_demo.ui.controller import Guide
from ovseg_demo.ui.model_registry import Offers
from ovseg_demo.ui.settings import PageSettings
from tests.ui.colour_world import SLOW_COLOUR, colour_segmenter, landscape, save_picture, stripes
from tests.ui.serving import serve_page


@pytest.fixture(scope="session")
def server():
    """One page for all tests, as it is served in public."""
    with serve_page() as server:
        yield server


@pytest.fixture(scope="session")
def client(server):
    return server.client()


@pytest.fixture
def published():
    """Files that the guide published, by name."""
    return {}


@pytest.fixture
def guide(published):
    def publish(content, name):
        published[name] = content
        return {"path": name}

    return Guide(Offers.of_segmenter(colour_segmenter()), PageSettings(max_side=400, max_names=20), publish)


@pytest.fixture
def picture(tmp_path):
    return str(save_picture(tmp_path / "Land scape.png", landscape()))


@pytest.fixture
def slow_picture(tmp_path):
    return str(save_picture(tmp_path / "slow.png", stripes(SLOW_COLOUR, (255, 0, 0))))
