"""A saved segmentation comes back exactly from its folder."""

import json
import resource
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.export.folder import save_segmentation
from ovseg_demo.export.label_map import decode_label_map
from tests.export.samples import two_masks


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


def test_a_saved_segmentation_comes_back_exactly(tmp_path):
    segmentation = two_masks()
    folder = tmp_path / "new" / "folder"
    save_segmentation(segmentation, folder, settings={"model": "photo-mini"})
    assert sorted(path.name for path in folder.iterdir()) == [
        "label_map.png",
        "overlay.png",
        "segmentation.json",
    ]
    label_map, names = decode_label_map(folder / "label_map.png")
    np.testing.assert_array_equal(label_map, segmentation.label_map)
    assert names == ("left", "right", "nowhere")
    np.testing.assert_array_equal(
        np.asarray(Image.open(folder / "overlay.png")), np.asarray(segmentation.overlay())
    )
    record = json.loads((folder / "segmentation.json").read_text(encoding="utf-8"))
    assert [category["found"] for category in record["categories"]] == [True, True, False]
    assert record["categories"][0]["synonyms"] == ["port"]
    assert record["categories"][2]["best_score"] == pytest.approx(0.3)
    assert record["info"]["settings"] == {
        "generator": "sam",
        "templates": "photo",
        "distractors": ["sky"],
        "masks": 3,
        "kept_masks": 2,
        "ignored_names": {},
        "notes": [],
        "classifier": "mask-adapted",
        "model": "photo-mini",
        "granularity": 0.5,
    }


def test_saving_again_replaces_the_files_and_changes_nothing_else(tmp_path):
    segmentation = two_masks()
    (tmp_path / "mine.txt").write_text("mine")
    segmentation.save(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    segmentation.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert first["mine.txt"] == b"mine"


def test_a_full_disk_leaves_the_older_files_together(tmp_path):
    """The overlay is larger than a file may be."""
    two_masks().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with file_limit(len(before["label_map.png"]) + 10), pytest.raises(OSError, match="large"):
        save_segmentation(two_masks(), tmp_path, settings={"model": "another"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


RENAMES = 6  # three older files are put aside, three newer ones take their places


class Killed(BaseException):
    """Ends the work as a kill does: no handler of errors runs."""


@pytest.mark.parametrize("renames", range(RENAMES + 4))
def test_a_process_that_is_killed_leaves_one_whole_set(tmp_path, monkeypatch, renames):
    """It is killed before one of its renames or deletions; the next run finds the disk full."""
    two_masks().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        raise_at(patch, renames, Killed)
        with suppress(Killed):
            save_segmentation(two_masks("left, right, sea"), tmp_path)
    with file_limit(10), pytest.raises(OSError, match="large"):
        save_segmentation(two_masks(), tmp_path)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    names = decode_label_map(tmp_path / "label_map.png")[1]
    assert [category["name"] for category in json.loads(after["segmentation.json"])["categories"]] == [*names]
    assert (after == before) == (renames <= RENAMES)


@pytest.mark.parametrize("renames", range(RENAMES))
def test_a_file_that_cannot_be_renamed_leaves_the_older_files_together(tmp_path, monkeypatch, renames):
    two_masks().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    raise_at(monkeypatch, renames, PermissionError)
    with pytest.raises(PermissionError):
        save_segmentation(two_masks("left, right, sea"), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


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
