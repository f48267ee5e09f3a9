"""Settings for all tests."""

import hypothesis
import pytest
import torch

from ovseg_demo.allocator import keep_freed_memory

# The same examples in every run, and no verdict by the clock: machines are shared.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

# The tests' networks are tiny: handing parts of them to other threads takes longer than computing them.
torch.set_num_threads(1)
keep_freed_memory()


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory):
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSEG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
