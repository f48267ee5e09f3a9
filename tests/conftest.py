"""Settings for all tests."""

import atexit
import os
import shutil
import tempfile

if "PYTEST_XDIST_WORKER" in os.environ:  # there is a process for each core already; torch reads this once
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

# The same examples in every run, and no verdict by the clock: machines are shared.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

# Each test process has upload files of its own: a page deletes old ones. Gradio reads this at its import.
os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="ovseg-tests-")
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA GPU")
    starts_workers = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not starts_workers:  # they would wait until it has imported torch
        prepare_networks()


def prepare_networks() -> None:
    import torch

    from ovseg_demo.runtime.allocator import keep_freed_memory

    # The tests' networks are tiny: handing parts of them to other threads takes longer than computing them.
    torch.set_num_threads(1)
    keep_freed_memory()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip("needs a CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory):
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVSEG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
