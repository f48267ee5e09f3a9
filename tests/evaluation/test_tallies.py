"""Runs that are interrupted and gone on with."""

import numpy as np
import pytest

from ovseg_demo.errors import OvsegError
from ovseg_demo.evaluation.measures import LabelMaps
from ovseg_demo.evaluation.tallies import Tally, count_images
from tests.evaluation.flat_world import FlatWorld, flat_segmenter


def measures(mistakes=None):
    world = FlatWorld()
    return {"maps": LabelMaps(flat_segmenter(mistakes), world.vocabulary, {"granularity": 0.0})}


class Interrupting:
    """A measure that stops the run at an image, once."""

    def __init__(self, measure, at, error):
        self.measure, self.at, self.error, self.calls = measure, at, error, 0

    def __call__(self, sample):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return self.measure(sample)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=["Ctrl-C", "failure"])
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, error):
    whole = count_images(FlatWorld(), measures({"red": "blue"}), Tally(tmp_path / "whole.npz"))
    stopping = {"maps": Interrupting(measures({"red": "blue"})["maps"], 3, error)}
    path = tmp_path / "stopped.npz"
    with pytest.raises(type(error)):
        count_images(FlatWorld(), stopping, Tally(path))
    second = FlatWorld()
    reports = []
    counts = count_images(
        second, measures({"red": "blue"}), Tally(path), lambda *report: reports.append(report)
    )
    assert second.loaded == ["image-2", "image-3"]
    assert reports == [("Images", 2, 4), ("Images", 3, 4), ("Images", 4, 4)]
    np.testing.assert_array_equal(counts["maps"]["confusion"], whole["maps"]["confusion"])


def test_a_complete_run_measures_nothing_again_until_it_is_removed(tmp_path):
    path = tmp_path / "a/b.npz"
    first = count_images(FlatWorld(), measures(), Tally(path))
    again = FlatWorld()
    counts = count_images(again, measures(), Tally(path))
    assert again.loaded == []
    np.testing.assert_array_equal(counts["maps"]["confusion"], first["maps"]["confusion"])
    Tally(path).remove()
    assert list(path.parent.iterdir()) == []


def test_several_measures_share_one_pass(tmp_path):
    world = FlatWorld()
    both = {"right": measures()["maps"], "wrong": measures({"red": "blue"})["maps"]}
    counts = count_images(world, both, Tally(tmp_path / "tally.npz"))
    assert len(world.loaded) == 4
    for name, mistakes in (("right", None), ("wrong", {"red": "blue"})):
        alone = count_images(FlatWorld(), measures(mistakes), Tally(tmp_path / f"{name}.npz"))
        np.testing.assert_array_equal(counts[name]["confusion"], alone["maps"]["confusion"])


def test_runs_of_other_data_or_settings_have_other_files(tmp_path):
    paths = {Tally.in_folder(tmp_path, *identity).path for identity in [("a", 1), ("a", 2), ("b", 1)]}
    assert len(paths) == 3
    assert Tally.in_folder(tmp_path, "a", 1).path in paths


def test_a_run_that_fails_at_once_leaves_no_file(tmp_path):
    stopping = {"maps": Interrupting(measures()["maps"], 1, MemoryError())}
    with pytest.raises(MemoryError):
        count_images(FlatWorld(), stopping, Tally(tmp_path / "tally.npz"))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_an_error_with_its_remedy(tmp_path):
    path = tmp_path / "tally.npz"
    path.write_bytes(b"PK nothing")
    with pytest.raises(OvsegError, match=r"is damaged.*delete it"):
        Tally(path)
