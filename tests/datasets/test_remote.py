"""Data sets in an object store: read from a server of the S3 protocol, and written to it."""

import json
import pickle
import sys
import time
from pathlib import Path

import pytest

from ovseg_demo.datasets import folders
from ovseg_demo.datasets.inputs import find_images
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import Job
from ovseg_demo.datasets.remote import RemoteError, RemotePath, join_place, parse_place
from ovseg_demo.datasets.store import ResultStore
from ovseg_demo.errors import MissingDependencyError
from tests.datasets.object_store import serve_bucket
from tests.datasets.small_images import contents, save_image, save_images, segment
from tests.tiny.checkpoints import save_tiny_ovseg

FORMATS = ("--format", "label-map", "coco", "label-studio")


@pytest.fixture(scope="module")
def store():
    with pytest.MonkeyPatch.context() as monkeypatch, serve_bucket(monkeypatch) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def ovseg(tmp_path_factory):
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth", "narrow")


def taken_apart(files: dict[str, bytes]) -> dict[str, object]:
    """Each image's files by its name, and what there is once; not the names of folders, which have a hash."""
    merged = json.loads(files["annotations.json"])
    found: dict[str, object] = {name: files[name] for name in files if name.startswith("label-studio")}
    for image in merged["images"]:
        folder = f"{image.pop('folder')}/"
        found[image["file_name"]] = {
            name.removeprefix(folder): files[name] for name in files if name.startswith(folder)
        }
    return found | {"annotations.json": merged}


# ---- places


def test_what_is_an_address():
    assert parse_place("photos/a.jpg") == Path("photos/a.jpg")
    assert parse_place("file:///photos/my%20cat.jpg") == Path("/photos/my cat.jpg")
    place = parse_place("s3://key:secret@bucket/my photos//a.jpg?region=eu&scheme=http")
    assert isinstance(place, RemotePath)
    assert str(place) == "s3://bucket/my photos/a.jpg", "neither a key nor options"
    assert "secret" not in repr(place)
    assert (place.name, place.suffix, place.parent.name) == ("a.jpg", ".jpg", "my photos")
    assert place.parent / "../other/b.png" == parse_place(
        "s3://key:secret@bucket/other/b.png?region=eu&scheme=http"
    )
    assert str(parse_place("gs://bucket")) == "gs://bucket"


def test_an_address_in_a_list_is_no_name_beside_the_list():
    assert join_place(Path("/lists"), "cats/a.jpg") == Path("/lists/cats/a.jpg")
    assert join_place(Path("/lists"), "file:///photos/a.jpg") == Path("/photos/a.jpg")
    assert join_place(Path("/lists"), "s3://bucket/a.jpg") == parse_place("s3://bucket/a.jpg")


# ---- reading


def test_images_of_a_bucket_are_found_and_named_by_their_place(store, tmp_path):
    image = save_image(tmp_path / "a.png").read_bytes()
    for name in ("b.PNG", "sub/a.png", ".hidden/c.png", "sub/.d.png", "notes.txt", "out/images/e/f.png"):
        store.write(f"found/{name}", image)
    items, problems = find_images([store.address("found")], leave_out=parse_place(store.address("found/out")))
    assert [(item.file_name, item.location) for item in items] == [
        ("b.PNG", "s3://data/found/b.PNG"),
        ("sub/a.png", "s3://data/found/sub/a.png"),
    ]
    assert not problems
    assert pickle.loads(pickle.dumps(items[1])).content() == image
    (one,), _ = find_images([store.address("found/sub/a.png")])
    assert (one.file_name, one.location) == ("a.png", items[1].location)
    _, problems = find_images([store.address("found/*.png"), store.address("nowhere")])
    assert "is a pattern" in problems[0]
    assert '"s3://data/nowhere" cannot be read' in problems[1]


def test_lists_and_tables_name_images_of_a_bucket(store, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    image = save_image(tmp_path / "a.png").read_bytes()
    store.write("listed/images/a.png", image)
    store.write("listed/list.csv", b'path,classes\nimages/a.png,"dog, sky"\n')
    parquet.write_table(arrow.table({"path": ["images/a.png"], "n": [1]}), tmp_path / "t.parquet")
    store.write("listed/t.parquet", (tmp_path / "t.parquet").read_bytes())
    (tmp_path / "here.csv").write_text(f"path\n{store.address('listed/images/a.png')}\n")
    names = [store.address("listed/list.csv"), store.address("listed/t.parquet"), str(tmp_path / "here.csv")]
    (listed, row), (here,) = find_images(names[:2])[0], find_images(names[2:])[0]
    assert (listed.file_name, listed.names) == ("images/a.png", "dog, sky")
    assert listed.location == here.location == "s3://data/listed/images/a.png"
    assert row.location == "s3://data/listed/t.parquet#0"
    assert listed.content() == here.content() == row.content() == image


# ---- whole runs


def test_a_run_from_bucket_to_bucket_gives_what_a_local_one_gives(store, ovseg, tmp_path, capsys):
    images, whole = save_images(tmp_path / "images", 4, bad=(2,)), tmp_path / "whole"
    store.upload(images, "images")
    assert segment(ovseg, whole, images, *FORMATS) == 1
    command = (ovseg, store.address("out"), store.address("images"), *FORMATS)
    assert segment(*command) == 1
    printed = capsys.readouterr()
    assert "s3://data/out/annotations.json: 3 images" in printed.out
    assert "endpoint_override" not in printed.out + printed.err
    ours = store.contents("out")
    assert taken_apart(ours) == taken_apart(contents(whole))
    assert json.loads(ours["errors.jsonl"])["file"] == "s3://data/images/part-2/0002.png"

    store.write("images/part-0/new.png", save_image(tmp_path / "new.png", 1).read_bytes())
    lost = next(name for name in ours if name.endswith("label_map.png"))
    store.delete(f"out/{lost}")
    store.write("images/part-2/0002.png", save_image(tmp_path / "mended.png", 2).read_bytes())
    assert segment(*command) == 0
    assert "3 done, 2 were finished before." in capsys.readouterr().out
    after = store.contents("out")
    assert (after[lost], after["errors.jsonl"]) == (ours[lost], b"")
    assert len(json.loads(after["annotations.json"])["images"]) == 5
    assert segment(*command, "--granularity", 0.5) == 2
    assert 'other settings in "s3://data/out"' in capsys.readouterr().err


def test_a_run_that_is_killed_continues_from_the_journal_in_the_bucket(
    store, ovseg, tmp_path, monkeypatch, capsys
):
    """A process that is killed closes nothing: what counts is the journal that it uploaded before."""
    images, output = save_images(tmp_path / "images", 3), store.address("killed")
    real = Job.segment

    def segment_two(job, image, item, progress):
        if item.name == "0002.png":
            raise KeyboardInterrupt
        return real(job, image, item, progress)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "_SECONDS_BETWEEN_UPLOADS", 0)
        patch.setattr(Job, "segment", segment_two)
        patch.setattr(ResultStore, "merge", lambda store: 2)
        patch.setattr(ResultStore, "close", lambda store: None)
        assert segment(ovseg, output, images, "--format", "label-map") == 130
    assert "annotations.json" not in store.contents("killed")
    capsys.readouterr()
    assert segment(ovseg, output, images, "--format", "label-map") == 0
    assert "1 done, 2 were finished before." in capsys.readouterr().out
    assert segment(ovseg, tmp_path / "whole", images, "--format", "label-map") == 0
    assert store.contents("killed") == contents(tmp_path / "whole")


def test_the_record_of_an_image_is_uploaded_after_its_other_files(store, ovseg, tmp_path, monkeypatch):
    uploaded, real = [], RemotePath.write_bytes

    def write_bytes(path, content):
        if path.suffix == ".png":
            time.sleep(0.2)  # longer than the record takes
        real(path, content)
        uploaded.append(path.name)

    monkeypatch.setattr(RemotePath, "write_bytes", write_bytes)
    formats = ("--format", "coco", "overlay", "label-map")
    assert segment(ovseg, store.address("ordered"), save_image(tmp_path / "a.png"), *formats) == 0
    assert sorted(uploaded[:2]) == ["label_map.png", "overlay.png"]
    assert uploaded[2:] == ["segmentation.json"]


# ---- what does not work


def test_what_cannot_be_reached_is_one_sentence(store, ovseg, tmp_path, capsys, monkeypatch):
    image = save_image(tmp_path / "a.png")
    absent = store.address("out").replace("s3://data", "s3://absent")
    assert segment(ovseg, absent, image) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "NO_SUCH_BUCKET" in line
    assert "check the address and the credentials (AWS_ACCESS_KEY_ID" in line
    with store.without_access(), pytest.raises(RemoteError, match=r"ACCESS_DENIED.*the credentials \(AWS_"):
        find_images([store.address("images")])
    with pytest.raises(RemoteError, match=r'"http://host/a.png" is no address that pyarrow opens'):
        find_images(["http://host/a.png"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r'install it with "pip install pyarrow"'):
        find_images(["s3://other/a.png"])


def test_an_object_that_cannot_be_read_is_an_error_of_its_image(store):
    with pytest.raises(OSError, match="there is no such file"):
        Item.of_file(parse_place(store.address("absent.png"))).hash_content()
