"""``python -m ovseg_demo``."""

import sys

from ovseg_demo.cli.main import main
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.threads import respect_quota

if __name__ == "__main__":
    respect_quota()
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(
            errors="replace"
        )  # a console that lacks a letter of a class name still shows the rest
    sys.exit(main())
