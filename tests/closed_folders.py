"""Folders that take no files: the disk is full, or they are read-only."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


class SmallDisk:
    """A disk of a few bytes in a folder. Only root may mount one; without root, the test is skipped."""

    def __init__(self, folder: Path, nbytes: int):
        self.folder = folder
        mounted = self._mount(f"size={nbytes}")
        if mounted.returncode:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")

    def resize(self, nbytes: int) -> None:
        """Give the disk another size; its files stay."""
        assert self._mount(f"remount,size={nbytes}").returncode == 0

    @contextmanager
    def filled(self, folder: Path) -> Iterator[None]:
        """Not a byte is left on the disk."""
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass  # full
        try:
            yield
        finally:
            ballast.unlink()

    def remove(self) -> None:
        """Take the disk out of the folder, which is empty then."""
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self, options: str) -> subprocess.CompletedProcess:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder]
        return subprocess.run(command, capture_output=True, text=True)


@contextmanager
def small_disk(folder: Path, nbytes: int) -> Iterator[SmallDisk]:
    """Mount a small disk in a folder."""
    disk = SmallDisk(folder, nbytes)
    try:
        yield disk
    finally:
        disk.remove()


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
