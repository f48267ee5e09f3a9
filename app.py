"""The page, on this machine or as a Hugging Face Space: ``python app.py --help``."""

from __future__ import annotations

import importlib.util
import os
import sys

if importlib.util.find_spec("spaces"):  # it must come before torch, and is on Spaces only
    import spaces  # noqa: F401

from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.threads import respect_quota, sleep_while_waiting


def main() -> int:
    """Open the page and serve it until the process is told to stop."""
    respect_quota()
    sleep_while_waiting()  # the browser may run on the same cores
    keep_freed_memory()
    from ovseg_demo.ui.application import run  # brings torch, which must find all this set

    return run(sys.argv[1:], os.environ)


if __name__ == "__main__":
    sys.exit(main())
