"""As many threads as the process may run at once.

torch starts a thread for each core that it sees. In a container those are the machine's cores, of which a
quota may allow two (as on Hugging Face Spaces): then the kernel stops all threads again and again, and they
wait for each other.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_VARIABLE = "OMP_NUM_THREADS"
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
