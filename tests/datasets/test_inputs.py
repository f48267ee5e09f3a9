"""Which images a command line names, what they are called, and which of their folders never collide."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.datasets import tables
from ovseg_demo.datasets.inputs import find_images
from ovseg_demo.datasets.items import Item
from ovseg_demo.errors import DatasetError, MissingDependencyError
from ovseg_demo.images import load_image


def save(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), color).save(path, "PNG")
    return path


def names(items: list[Item]) -> list[str]:
    return [item.file_name for item in items]


@pytest.fixture
def tree(tmp_path):
    """A folder with sub-folders, files that are no images, and hidden ones."""
    for name in ("b.jpg", "A.PNG", "sub/a.jpg", "sub/deeper/c.webp", ".hidden/d.jpg"):
        save(tmp_path / "tree" / name)
    (tmp_path / "tree" / "._b.jpg").write_bytes(b"what macOS leaves beside a file")
    (tmp_path / "tree" / "notes.txt").write_text("a cat")
    return tmp_path / "tree"


def test_a_folder_is_read_with_its_sub_folders_but_without_hidden_ones(tree):
    items, problems = find_images([str(tree)])
    assert names(items) == ["A.PNG", "b.jpg", "sub/a.jpg", "sub/deeper/c.webp"]
    assert not problems


def test_the_folder_of_the_results_is_no_input(tree):
    save(tree / "out" / "images" / "b-1" / "overlay.png")
    for given in (tree, tree / "**" / "*.*g"):
        items, _ = find_images([str(given)], leave_out=tree / "out")
        assert not [name for name in names(items) if "out" in name]


def test_linked_folders_are_read_once_even_in_a_circle(tree):
    save(tree.parent / "elsewhere" / "e.jpg")
    (tree / "link").symlink_to(tree.parent / "elsewhere")
    (tree / "sub" / "up").symlink_to(tree)
    assert sorted(names(find_images([str(tree)])[0])) == [
        "A.PNG", "b.jpg", "link/e.jpg", "sub/a.jpg", "sub/deeper/c.webp",
    ]  # fmt: skip


def test_patterns_are_relative_to_their_first_part_and_may_cross_folders(tree):
    items, _ = find_images([str(tree / "**" / "*.jpg")])
    assert names(items) == ["b.jpg", "sub/a.jpg"]
    assert names(find_images([str(tree / "sub" / "*")])[0]) == ["a.jpg"]


def test_an_image_that_is_named_twice_is_taken_once(tree, monkeypatch):
    monkeypatch.chdir(tree)
    items, _ = find_images(["sub", str(tree / "sub" / "a.jpg"), "sub/../sub/*.jpg", "."])
    assert names(items) == ["a.jpg", "deeper/c.webp", "A.PNG", "b.jpg"]


def test_inputs_without_an_image_are_named(tree, tmp_path):
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    items, problems = find_images([str(tmp_path / "empty"), str(tree / "*.bmp"), str(tree / "b.jpg")])
    assert names(items) == ["b.jpg"]
    assert 'The folder "empty" holds no images' in problems[0]
    assert 'No file matches "*.bmp"' in problems[1]


# ---- keys


def test_what_cannot_be_opened_is_one_sentence_and_the_others_are_taken(tree, monkeypatch):
    (tree / "loop.jpg").symlink_to("loop.jpg")
    scandir = os.scandir

    def closed(folder):
        if Path(folder).name == "sub":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    items, problems = find_images([str(tree), "x" * 300, str(tree / "sub")])
    assert names(items) == ["A.PNG", "b.jpg", "loop.jpg"]
    folder = f'The folder "{tree / "sub"}" cannot be read (Permission denied).'
    assert problems == [
        folder,
        f'"{"x" * 80}…" cannot be opened (File name too long); check the path.',
        folder,
    ]


def test_no_two_images_share_a_folder_even_where_case_is_ignored(tmp_path):
    paths = ["a.jpg", "a.png", "A.jpg", "sub/a.jpg", "Sub/a.jpg", "a b.jpg", "a-b.jpg", "ä.jpg", "_.jpg"]
    hidden = ["...jpg", "sub/...jpg"]
    for path in paths + hidden:
        save(tmp_path / path)
    items, _ = find_images([str(tmp_path)])
    named, _ = find_images([str(tmp_path / path) for path in reversed(paths + hidden)])
    assert len({item.key.casefold() for item in items}) == len(paths)
    assert len({item.key.casefold() for item in named}) == len(paths + hidden)


def test_a_key_keeps_the_relative_path_and_depends_on_nothing_else(tree, monkeypatch):
    whole = {item.location: item.key for item in find_images([str(tree)])[0]}
    key = whole[str(tree / "sub" / "a.jpg")]
    assert key.startswith("sub/a-")
    others, _ = find_images([str(tree / "b.jpg"), str(tree)])
    assert key in {item.key for item in others}
    monkeypatch.chdir(tree.parent)
    assert {item.location: item.key for item in find_images(["tree"])[0]} == whole


def test_a_key_is_a_plain_path_for_any_name(tmp_path):
    strange = Path(os.fsdecode(b"caf\xe9 \xe2\x98\x83 con.jpg"))
    for name in (strange, Path("CON.jpg"), Path("x" * 200 + ".jpg"), Path("..jpg")):
        key = Item.of_file(tmp_path / name).key
        assert key.encode("utf-8")
        assert len(key) < 80
        assert "/" not in key
        assert ".." not in key
    outside = Item.of_file(tmp_path / "a" / ".." / ".." / "b.jpg", tmp_path)
    assert outside.key.startswith("b-")


# ---- lists


def test_a_csv_list_gives_images_names_of_their_own(tree):
    (tree / "list.csv").write_text('path, classes, license\nb.jpg,"dog, grass",CC0\nsub/a.jpg,,\n', "utf-8")
    first, second = find_images([str(tree / "list.csv")])[0]
    assert (first.file_name, first.names, first.license) == ("b.jpg", "dog, grass", "CC0")
    assert (second.file_name, second.names, second.license) == ("sub/a.jpg", None, "")
    assert second.location == str(tree / "sub" / "a.jpg")


def test_a_json_lines_list_takes_names_as_a_text_or_a_list(tree):
    lines = [{"path": "b.jpg", "classes": ["cat, big", "sky"]}, {"path": str(tree / "A.PNG"), "classes": "x"}]
    (tree / "list.jsonl").write_text("\n\n".join(map(json.dumps, lines)), "utf-8")
    first, second = find_images([str(tree / "list.jsonl")])[0]
    assert (first.names, second.names) == (("cat, big", "sky"), "x")
    assert second.file_name == "A.PNG"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "b.jpg,dog\n", 'must name its columns: "path"'),
        ("a.csv", "path,classes\nb.jpg,dog,cat\n", "Line 2 of .* more fields"),
        ("a.csv", "path\n", "names no image"),
        ("a.csv", "path,classes\n ,dog\n", 'Line 2 of "a.csv" has no "path"'),
        ("a.jsonl", '{"path": "b.jpg"}\n{"path"', "Line 2 .* no JSON"),
        ("a.jsonl", "[1]", "no JSON object"),
        ("a.jsonl", '{"path": "b.jpg", "classes": 7}', "neither a text nor a list"),
        ("a.jsonl", '{"path": "b\\u0000.jpg"}', "Line 1 .* names no file"),
        ("a.csv", "path\nb.jpg\n/\n", "Line 3 .* the \"path\" '/', which names no file"),
        ("a.csv", 'path\n"b.jpg' + "\n" * 2**18, "Line .* cannot be read .*; check its quotes"),
    ],
)
def test_a_faulty_list_is_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_images([str(tmp_path / name)])


# ---- tables


def encoded(tmp_path: Path, color: str) -> bytes:
    return save(tmp_path / f"{color}.png", color).read_bytes()


def color_of(item: Item) -> tuple[int, ...]:
    return tuple(int(value) for value in load_image(item.content())[0, 0])


def test_a_parquet_file_gives_a_row_an_image(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    colors = ["red", "lime", "blue"]
    table = {
        "label": [1, 2, 3],
        "image": [{"bytes": encoded(tmp_path, color), "path": f"{color}.png"} for color in colors],
        "classes": [["dog", "sky"], None, ["cat"]],
    }
    parquet.write_table(arrow.table(table), tmp_path / "t.parquet", row_group_size=2)
    items, _ = find_images([str(tmp_path / "t.parquet")])
    assert names(items) == ["t.parquet/000000", "t.parquet/000001", "t.parquet/000002"]
    assert [item.names for item in items] == [("dog", "sky"), None, ("cat",)]
    assert [color_of(item) for item in reversed(items)] == [(0, 0, 255), (0, 255, 0), (255, 0, 0)]
    assert len({item.key for item in items}) == 3


def test_a_parquet_file_may_hold_bytes_or_paths(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    save(tmp_path / "images" / "a.png", "blue")
    parquet.write_table(arrow.table({"path": ["images/a.png"]}), tmp_path / "paths.parquet")
    parquet.write_table(arrow.table({"img": [encoded(tmp_path, "red")]}), tmp_path / "bytes.parquet")
    parquet.write_table(arrow.table({"n": [1]}), tmp_path / "none.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 nothing")
    items, _ = find_images([str(tmp_path / "paths.parquet"), str(tmp_path / "bytes.parquet")])
    assert [color_of(item) for item in items] == [(0, 0, 255), (255, 0, 0)]
    for name, message in (("none", "no column of images"), ("torn", "cannot be read as a table")):
        with pytest.raises(DatasetError, match=message):
            find_images([str(tmp_path / f"{name}.parquet")])


def test_a_folder_that_datasets_saved_is_a_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "classes": datasets.Value("string")})
    images = [Image.fromarray(np.full((9, 12, 3), value, np.uint8)) for value in (10, 200)]
    rows = {"image": images, "classes": ["dog", None]}
    saved = datasets.Dataset.from_dict(rows, features=features)
    saved.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=saved, test=saved.select([1])).save_to_disk(tmp_path / "splits")
    items, _ = find_images([str(tmp_path / "one")])
    assert [color_of(item)[0] for item in items] == [10, 200]
    assert [item.names for item in items] == ["dog", None]
    items, _ = find_images([str(tmp_path / "splits")])
    assert names(items) == ["train/000000", "train/000001", "test/000000"]
    assert [color_of(item)[0] for item in items] == [10, 200, 200]


def test_a_missing_pyarrow_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match='install it with "pip install'):
        list(tables.read_table(tmp_path / "t.parquet"))
