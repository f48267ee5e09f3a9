"""Ray's workers give what a local run gives. Ray is an optional package."""

import json
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from ovseg_demo.datasets.ray_engine import Worker
from tests.datasets.object_store import serve_bucket
from tests.datasets.small_images import contents, journal_lines, save_image, save_images, segment
from tests.tiny.checkpoints import save_tiny_ovseg

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
ray = pytest.importorskip("ray")
FORMATS = ("--format", "label-map", "coco")
ON_RAY = ("--engine", "ray", "--workers", 2, *FORMATS)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A real local cluster with room for two workers."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def worker_processes() -> list[int]:
    """The processes of this cluster's actors that map batches, by the titles that Ray gives them."""
    titles = {int(path.parent.name): path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")}
    mapping = [process for process, title in titles.items() if b"MapWorker(MapBatches(Worker" in title]
    return [process for process in mapping if os.getpid() in parents(process)]


def parents(process: int) -> list[int]:
    """The parent of a process, its parent, and so on."""
    found = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(process)
    return found


def test_two_workers_give_what_one_process_gives_even_if_one_is_killed(tmp_path, capfd):
    ovseg = save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
    images = save_images(tmp_path / "images", 14, bad=(5, 9))
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert segment(ovseg, whole, images, *FORMATS) == 1
    killed = threading.Event()

    def kill_a_worker():
        while len(list(journal_lines(output))) < 3:
            time.sleep(0.01)
        os.kill(worker_processes()[0], signal.SIGKILL)
        killed.set()

    thread = threading.Thread(target=kill_a_worker, daemon=True)
    thread.start()
    assert segment(ovseg, output, images, *ON_RAY) == 1
    thread.join(60)
    assert killed.is_set()
    ours, theirs = contents(output), contents(whole)
    errors = [sorted(files.pop("errors.jsonl").splitlines()) for files in (ours, theirs)]
    assert ours == theirs
    assert errors[0] == errors[1], "the order alone may differ"
    assert len(errors[0]) == 2
    capfd.readouterr()
    assert segment(ovseg, output, images, *FORMATS) == 1, "the other engine continues"
    assert "0 done, 12 were finished before." in capfd.readouterr().out


def test_workers_find_relative_paths_from_another_working_folder(tmp_path, monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
    images = [save_image(tmp_path / f"{number}.png", number) for number in range(2)]
    rows = {"image": [{"bytes": images[0].read_bytes(), "path": ""}, {"bytes": None, "path": "1.png"}]}
    parquet.write_table(arrow.table(rows), tmp_path / "t.parquet")
    monkeypatch.chdir(tmp_path)  # after the cluster began
    inputs = ("t.parquet", "0.png", *FORMATS)
    assert segment(Path("ovseg.pth"), Path("out"), *inputs, "--engine", "ray") == 0
    assert segment(Path("ovseg.pth"), Path("whole"), *inputs) == 0
    assert contents(Path("out")) == contents(Path("whole"))


def test_a_worker_that_cannot_open_a_table_is_one_sentence(tmp_path):
    lost = pickle.dumps((RemovedTable(tmp_path / "t.parquet"), "a", FORMATS))
    (made,) = Worker(lambda: None)({"item": [lost]})["outcome"]
    assert str(pickle.loads(made)).endswith("; put the inputs where all machines find them.")


class RemovedTable:
    """A table that another process does not find."""

    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return Path.read_bytes, (self._path,)


def test_workers_read_a_bucket_and_the_results_go_to_one(tmp_path, monkeypatch):
    with serve_bucket(monkeypatch) as store:
        ovseg = save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
        store.upload(save_images(tmp_path / "images", 3), "images")
        assert segment(ovseg, store.address("out"), store.address("images"), *FORMATS, "--engine", "ray") == 0
        results = store.contents("out")
        assert len([name for name in results if name.endswith("/label_map.png")]) == 3
        assert len(json.loads(results["annotations.json"])["images"]) == 3
