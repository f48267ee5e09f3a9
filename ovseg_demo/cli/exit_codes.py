"""The exit codes of all commands."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ovseg_demo.errors import OvsegError

SUCCESS = 0
SOME_FAILED = 1
"""Some images could not be segmented."""
USER_ERROR = 2
INTERRUPTED = 130
"""Of a command that Ctrl-C stopped."""


def exit_code(run: Callable[[], int], *, resumes: bool = False) -> int:
    """Return the exit code of a command; a user error or Ctrl-C is one sentence on stderr.

    Args:
        run: runs the command and returns its exit code.
        resumes: whether the same command goes on after Ctrl-C.
    """
    try:
        return run()
    except OvsegError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("Stopped; the same command resumes." if resumes else "Stopped.", file=sys.stderr)
        return INTERRUPTED
