"""Processes for tests that kill or fork: the test process has threads, which a fork does not copy."""

import multiprocessing
from multiprocessing.context import BaseContext

_IMPORTED = ["ovseg_demo.cli.segment", "ovseg_demo.models.loading", "ovseg_demo.datasets.predictor"]


def fresh_processes() -> BaseContext:
    """The context of processes that a server without threads starts; it imports the modules once for all."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context
