"""Where the program's own files lie: what comes with it, and what it keeps for the user."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def is_installed() -> bool:
    """Return whether the program was installed from a wheel; otherwise it runs in a checkout."""
    return (_PACKAGE / "_bundled").is_dir()


def bundled(name: str) -> Path:
    """Return the path of a folder that comes with the program.

    A checkout has it beside the package. A wheel carries it inside the package, in ``_bundled``.

    Args:
        name: ``"weights"`` or ``"examples"``.
    """
    return _PACKAGE / "_bundled" / name if is_installed() else _PACKAGE.parent / name


def cache_folder() -> Path:
    """Return the folder for files that can be made or fetched again.

    It is ``OVSEG_CACHE_DIR``, or ``ovseg-demo`` in the user's cache folder (XDG). Nothing is created here.
    """
    chosen = os.environ.get("OVSEG_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ovseg-demo"
