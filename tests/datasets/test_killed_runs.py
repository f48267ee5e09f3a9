"""Runs that are killed with SIGKILL and continued: the data set is that of an uninterrupted run."""

import json
import os
import random
import signal
import sys
import time

import pytest

from ovseg_demo.cli.main import main
from tests.datasets.processes import fresh_processes
from tests.datasets.small_images import arguments, contents, journal_lines, save_images, segment
from tests.tiny.checkpoints import save_tiny_ovseg

COUNT, BAD = 18, (3, 8, 11, 16)
FORMATS = ("--format", "label-map", "coco")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")


def run_until(ovseg, output, images, lines):
    """Start the command in another process, and kill it when the journal has so many lines."""
    process = fresh_processes().Process(target=main, args=(arguments(ovseg, output, images, *FORMATS),))
    process.start()
    while process.is_alive() and len(list(journal_lines(output))) < lines:
        time.sleep(0.002)
    assert process.is_alive(), "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_run_that_is_killed_three_times_gives_what_an_uninterrupted_one_gives(tmp_path, capfd):
    ovseg = save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
    images = save_images(tmp_path / "images", COUNT, BAD)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert segment(ovseg, whole, images, *FORMATS) == 1
    early = range(1, COUNT // 2)  # so that the run cannot end before it is killed
    for lines in sorted(random.Random(0).sample(early, 3)):
        run_until(ovseg, killed, images, lines)
        with (killed / "records" / "part-000000.jsonl").open("ab") as file:
            file.write(b'{"id": "torn')  # as when it is killed within a line
    capfd.readouterr()
    assert segment(ovseg, killed, images, *FORMATS) == 1
    assert contents(killed) == contents(whole)
    errors = [json.loads(line) for line in (killed / "errors.jsonl").read_text().splitlines()]
    assert [error["kind"] for error in errors] == ["ImageError"] * 4
    assert "4 of 18 could not be segmented" in capfd.readouterr().err
    ids = [json.loads(line)["id"] for line in journal_lines(killed)]
    assert len(ids) == len(set(ids)) == COUNT - len(BAD), "nothing is done twice"
    annotations = json.loads((killed / "annotations.json").read_text())
    assert len(annotations["images"]) == COUNT - len(BAD)
