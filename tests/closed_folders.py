"""Folders that take no files: the disk is full, or they are read-only."""

import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def file_limit(nbytes: int):
    """Files may have so many bytes: writing more fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def full_disk(folder: Path):
    """No file can have more than 200 bytes."""
    with file_limit(200):
        yield


@contextmanager
def read_only(folder: Path):
    """Everything in a folder can be read and nothing written; root, who may do all, is somebody else."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        for path, mode in modes.items():
            if path.exists():
                path.chmod(mode)
