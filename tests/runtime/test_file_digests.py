"""Digests of files: by content, and each version of a file is read once."""

import hashlib
import os

from ovseg_demo.runtime.file_digests import file_digest


def test_a_digest_is_that_of_the_content_wherever_the_file_lies(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()
    assert file_digest(path) == expected
    assert file_digest(path.rename(tmp_path / "b.bin")) == expected


def test_a_file_is_read_again_only_after_a_change(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"weights")
    os.utime(path, ns=(1, 1))
    before = file_digest(path)
    path.write_bytes(b"changed")
    os.utime(path, ns=(1, 1))
    assert file_digest(path) == before, "neither its size nor its time tells"
    os.utime(path, ns=(2, 2))
    assert file_digest(path) == hashlib.sha256(b"changed").hexdigest()
