"""``ovseg serve``: open the page in a browser. ``app.py`` calls the same function."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence

from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.threads import respect_quota, sleep_while_waiting


def main(argv: Sequence[str], prog: str, environment: Mapping[str, str] = os.environ) -> int:
    """Open the page and serve it until the process is asked to stop.

    Args:
        argv: the options; :mod:`ovseg_demo.ui.options` reads them.
        prog: the program's name in help texts.
        environment: environment variables, which may set options.

    Returns:
        The exit code.
    """
    if importlib.util.find_spec("spaces"):  # on Hugging Face Spaces; it must be imported before torch
        import spaces  # noqa: F401
    respect_quota()
    sleep_while_waiting()  # as the browser may run on the same cores
    keep_freed_memory()
    from ovseg_demo.ui.application import run  # after the settings, as torch reads them when it is imported

    return run(argv, environment, prog)
