"""The program: ``python -m ovseg_demo``, or ``ovseg`` where it is installed."""

import sys

from ovseg_demo.cli.main import main as run_command
from ovseg_demo.runtime.allocator import keep_freed_memory
from ovseg_demo.runtime.threads import respect_quota


def main() -> int:
    """Set up the process, then run the command that its arguments name.

    Returns:
        The exit code.
    """
    respect_quota()
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that lacks a letter still shows the rest
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
