"""Limits the number of compute threads to the CPU quota, lets waiting threads sleep, and long work yield.

torch starts one thread for each core that it sees. In a container it sees all cores of the machine, although
a quota may allow only two of them (as on Hugging Face Spaces). The kernel then stops the threads in turns,
and each waits for the others. A thread that has finished its part of a matrix product also spins until the
others have finished. That takes time from other processes on the same cores, such as a browser.
"""

from __future__ import annotations

import contextvars
import math
import os
import queue
import sys
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

_VARIABLE = "OMP_NUM_THREADS"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_CGROUP = Path("/sys/fs/cgroup")

_LONG_WORK = 10  # the niceness of its threads: a tenth of the usual share of a core that others want


def respect_quota(environment: MutableMapping[str, str] = os.environ, cgroup: Path = _CGROUP) -> None:
    """Set ``OMP_NUM_THREADS`` to the container's CPU quota, if there is one and the variable is not set.

    Call it before torch is imported: torch reads the variable once.

    Args:
        environment: the environment to change.
        cgroup: the folder of the kernel's cgroup files, version 2 or 1.
    """
    quota = _read_quota(cgroup)
    if quota is not None and _VARIABLE not in environment:
        environment[_VARIABLE] = str(max(1, math.floor(quota)))


def sleep_while_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set ``OMP_WAIT_POLICY`` to "PASSIVE", unless a variable already sets how threads wait.

    Call it before torch is imported.
    """
    if not any(variable in environment for variable in _WAITING):
        environment[_WAITING[0]] = "PASSIVE"


def yield_to_others() -> None:
    """Give the calling thread, and threads that it starts, less of a core that other threads want.

    It cannot be undone, so only a thread that ends with its work calls it. Only Linux has priorities of
    threads; elsewhere nothing changes.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _LONG_WORK)


def run_below(work: Callable[[], R]) -> R:
    """Return the result of work, or raise its error, from a thread that yields to others."""
    results: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()

    def do() -> None:
        yield_to_others()
        try:
            results.put((work(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=contextvars.copy_context().run, args=(do,), daemon=True).start()
    result, error = results.get()
    if error is not None:
        raise error
    return result


def _read_quota(cgroup: Path) -> float | None:
    """Return the number of cores that the quota allows; ``None`` without a quota."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{part}_us").read_text().strip() for part in ("quota", "period")
            )
        except OSError:
            return None
    if not (quota.isdecimal() and period.isdecimal()):  # "max", or -1
        return None
    return int(quota) / int(period)
