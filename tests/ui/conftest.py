import pytest

from tests.ui.serving import serve_page


@pytest.fixture(scope="session")
def server():
    """One page for all tests, as it is served in public."""
    with serve_page() as server:
        yield server


@pytest.fixture(scope="session")
def client(server):
    return server.client()
