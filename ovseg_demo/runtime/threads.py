"""As many threads as the process may run at once, and none that waits with all its might.

torch starts a thread for each core that it sees. In a container those are the machine's cores, of which a
quota may allow two (as on Hugging Face Spaces): then the kernel stops all threads again and again, and they
wait for each other. Threads that are done with their part of a product spin until the others are, too, which
takes the core away from whom they wait for if a browser or another visitor's work runs on the same cores.
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
    """Set ``OMP_NUM_THREADS`` to the container's quota of cores, if there is one; a value that is set stays.

    To be called before torch is imported, which reads it once.

    Args:
        environment: where the variable is set.
        cgroup: where the kernel tells the quota (version 2, or 1).
    """
    quota = _read_quota(cgroup)
    if quota is not None and _VARIABLE not in environment:
        environment[_VARIABLE] = str(max(1, math.floor(quota)))


def sleep_while_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set ``OMP_WAIT_POLICY`` to passive, unless the user has said how threads shall wait.

    To be called before torch is imported.
    """
    if not any(variable in environment for variable in _WAITING):
        environment[_WAITING[0]] = "PASSIVE"


def _read_quota(cgroup: Path) -> float | None:
    """Cores that may be busy at once; ``None`` without a limit, or where none can be read."""
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
