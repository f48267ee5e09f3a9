import pytest

from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.settings import PageSettings
from tests.ui.colour_world import SLOW_COLOUR, colour_segmenter, landscape, save_image, stripes
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
    """Files that the controller published, by name."""
    return {}


@pytest.fixture
def controller(published):
    def publish(content, name):
        published[name] = content
        return {"path": name}

    return PageController(
        PageResources(
            ModelRegistry.of_segmenter(colour_segmenter()), PageSettings(max_side=400, max_names=20), publish
        )
    )


@pytest.fixture
def image(tmp_path):
    return str(save_image(tmp_path / "Land scape.png", landscape()))


@pytest.fixture
def slow_image(tmp_path):
    return str(save_image(tmp_path / "slow.png", stripes(SLOW_COLOUR, (255, 0, 0))))
