"""Files that cannot be written leave what was there."""

import sys

import pytest

from ovseg_demo.runtime.disk import write_file


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_what_cannot_be_opened_is_not_deleted(tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path)  # a folder: root, who may open every file, cannot open it either
    with pytest.raises(IsADirectoryError):
        write_file(link, b"newer")
    assert link.is_symlink()
