"""Files are whole or absent, and what may not be opened stays."""

import os
import resource

import pytest

from ovseg_demo.runtime.disk import write_file


def test_a_file_that_cannot_be_opened_stays_as_it_was(tmp_path):
    file = tmp_path / "older.txt"
    file.write_bytes(b"older")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(file, os.O_RDONLY)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, before[1]))  # no further file can be opened
        with pytest.raises(OSError, match="Too many open files"):
            write_file(file, b"newer")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(taken[0])
    assert file.read_bytes() == b"older"


def test_a_file_that_cannot_be_written_is_removed(tmp_path):
    with pytest.raises(OSError, match="File too large"):
        write_beyond_the_limit(tmp_path / "large.bin")
    assert list(tmp_path.iterdir()) == []


def write_beyond_the_limit(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        write_file(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
