"""Files that belong together are replaced together, whatever stops it."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ovseg_demo.export.file_set import replace_files
from tests.closed_folders import file_limit
from tests.paths import ROOT

NAMES = ("a.png", "b.png", "record.json")
RENAMES = 6  # three older files are put aside, three newer ones take their places


def contents(folder: Path, version: bytes) -> dict[Path, bytes]:
    return {folder / name: version * 10_000 for name in NAMES}


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def named(folder: Path, version: bytes) -> dict[str, bytes]:
    return {path.name: content for path, content in contents(folder, version).items()}


class Killed(BaseException):
    """Ends the work as a kill does: no handler of errors runs."""


@pytest.mark.parametrize("renames", range(RENAMES + 4))
def test_a_process_that_is_killed_leaves_one_whole_set(tmp_path, monkeypatch, renames):
    """It is killed before one of its renames or deletions; the next run finds the disk full."""
    replace_files(contents(tmp_path, b"1"))
    with monkeypatch.context() as patch:
        raise_at(patch, renames, Killed)
        with suppress(Killed):
            replace_files(contents(tmp_path, b"2"))
    with file_limit(10), pytest.raises(OSError, match="large"):
        replace_files(contents(tmp_path, b"3"))
    assert read(tmp_path) == named(tmp_path, b"1" if renames <= RENAMES else b"2")


@pytest.mark.parametrize("renames", range(RENAMES))
def test_a_file_that_cannot_be_renamed_leaves_the_older_files_together(tmp_path, monkeypatch, renames):
    replace_files(contents(tmp_path, b"1"))
    raise_at(monkeypatch, renames, PermissionError)
    with pytest.raises(PermissionError):
        replace_files(contents(tmp_path, b"2"))
    assert read(tmp_path) == named(tmp_path, b"1")


PROCESS = """
import sys
from itertools import count
from pathlib import Path
from ovseg_demo.export.file_set import replace_files

for number in count():
    replace_files({Path(sys.argv[1], name): b"%d" % (number % 10) * 10_000 for name in sys.argv[2:]})
"""


def test_sigkill_at_any_time_leaves_one_whole_set(tmp_path):
    """No record stands beside files of another set, and the next run restores or replaces all of them."""
    for number in range(12):
        process = subprocess.Popen([sys.executable, "-c", PROCESS, tmp_path, *NAMES], cwd=ROOT)
        end = time.monotonic() + 60
        started = time.time()
        while not any(is_newer(path, started) for path in tmp_path.glob("*.png")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.001)
        time.sleep(0.003 * number)
        process.kill()
        process.wait(60)
        if (tmp_path / "record.json").exists():
            assert len({read(tmp_path)[name] for name in NAMES}) == 1
        with file_limit(10), pytest.raises(OSError, match="large"):
            replace_files(contents(tmp_path, b"x"))
        left = read(tmp_path)
        assert left.keys() == set(NAMES) and len(set(left.values())) == 1
        assert len(left["record.json"]) == 10_000


def is_newer(path: Path, time_: float) -> bool:
    try:
        return path.stat().st_mtime > time_
    except FileNotFoundError:  # the process has put it aside
        return False


def raise_at(monkeypatch: pytest.MonkeyPatch, count: int, error: type[BaseException]) -> None:
    """Raise an error once, after ``count`` renames or deletions of files that were put aside."""
    done = []
    replace, unlink = Path.replace, Path.unlink

    def step() -> None:
        done.append(True)
        if len(done) == count + 1:
            raise error

    def counted_replace(path, target):
        step()
        return replace(path, target)

    def counted_unlink(path, missing_ok=False):
        if path.name.endswith(".old") and path.exists():
            step()
        return unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "replace", counted_replace)
    monkeypatch.setattr(Path, "unlink", counted_unlink)
