"""Limits the number of compute threads to the CPU quota, and lets waiting threads sleep.

torch starts one thread for each core that it sees. In a container it sees all cores of the machine, although
a quota may allow only two of them (as on Hugging Face Spaces). The kernel then stops the threads in turns,
and each waits for the others. A thread that has finished its part of a matrix product also spins until the
others have finished. That takes time from other processes on the same cores, such as a browser.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLE = "OMP_NUM_THREADS"
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_CGROUP = Path("/sys/fs/cgroup")


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
