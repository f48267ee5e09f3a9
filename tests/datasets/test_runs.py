"""Data sets as users meet them: one COCO file, resuming, changed settings, errors, a full disk."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from pycocotools.coco import COCO

from ovseg_demo.datasets.folders import LocalFolder
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import Job
from ovseg_demo.datasets.store import OutputError, ResultStore
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from tests.closed_folders import file_limit, read_only, small_disk
from tests.datasets.small_images import (
    SIZES,
    contents,
    journal_lines,
    save_image,
    save_images,
    segment,
)
from tests.tiny.checkpoints import save_tiny_ovseg


@pytest.fixture(scope="module")
def ovseg(tmp_path_factory):
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth", "narrow")


@pytest.fixture
def images(tmp_path):
    return save_images(tmp_path / "images", 4)


@pytest.fixture
def segmented(monkeypatch):
    """The sizes of the images that the networks get, one by one."""
    sizes = []
    real = MaskFormerProposalGenerator.__call__

    def propose(generator, image, **options):
        sizes.append(image.shape[:2])
        return real(generator, image, **options)

    monkeypatch.setattr(MaskFormerProposalGenerator, "__call__", propose)
    return sizes


def read(output: Path) -> dict:
    return json.loads((output / "annotations.json").read_text(encoding="utf-8"))


def folder_of(output: Path, image: Path) -> Path:
    return output / "images" / Item.of_file(image).key


# ---- the merged file


def test_all_masks_come_back_with_pycocotools(ovseg, images, tmp_path, capsys):
    assert segment(ovseg, tmp_path / "out", images) == 0
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert [image["file_name"] for image in coco.dataset["images"]] == [
        "part-0/0000.png", "part-0/0003.png", "part-1/0001.png", "part-2/0002.png",
    ]  # fmt: skip
    assert [category["name"] for category in coco.dataset["categories"]] == ["cat", "grass", "sky"]
    assert coco.dataset["categories"][0]["synonyms"] == ["kitten"]
    assert len({annotation["id"] for annotation in coco.dataset["annotations"]}) > 4
    for image in coco.dataset["images"]:
        label_map, _ = decode_label_map(tmp_path / "out" / image["folder"] / "label_map.png")
        assert label_map.shape == (image["height"], image["width"])
        from_masks = np.zeros_like(label_map)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            from_masks += coco.annToMask(annotation).astype(np.int32) * annotation["category_id"]
        np.testing.assert_array_equal(from_masks - 1, label_map)
    printed = capsys.readouterr().out
    assert "4 done. " in printed
    assert "annotations.json: 4 images" in printed


def test_images_of_a_list_have_classes_of_their_own_and_licences(ovseg, images, tmp_path):
    rows = [
        {"path": "part-0/0000.png", "classes": ["dog", "sky / heaven"], "license": "CC0"},
        {"path": "part-1/0001.png", "classes": "Sky, tree", "license": "CC-BY 4.0"},
        {"path": "part-2/0002.png"},
        {"path": "part-0/0003.png", "classes": "!!!"},
    ]
    (images / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert segment(ovseg, tmp_path / "out", images / "list.jsonl", classes=None) == 2, "one has no names"
    assert segment(ovseg, tmp_path / "out", images / "list.jsonl", classes="cup") == 1
    merged = read(tmp_path / "out")
    assert [(entry["name"], entry["synonyms"]) for entry in merged["categories"]] == [
        ("dog", []), ("sky", ["heaven"]), ("tree", []), ("cup", []),
    ]  # fmt: skip
    assert [entry["name"] for entry in merged["licenses"]] == ["CC-BY 4.0", "CC0"]
    licenses = {entry["id"]: entry["name"] for entry in merged["licenses"]}
    by_name = {image["file_name"]: image for image in merged["images"]}
    assert licenses[by_name["part-0/0000.png"]["license"]] == "CC0"
    assert by_name.keys() == {"part-0/0000.png", "part-1/0001.png", "part-2/0002.png"}
    settings = merged["info"]["settings"]
    assert settings[by_name["part-1/0001.png"]["settings"]]["classes"] == ["Sky", "tree"]
    (error,) = (json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines())
    assert error["kind"] == "VocabularyError"
    assert error["error"].startswith('"0003.png": No class name can be used.')


@pytest.mark.parametrize("name", ["turned.jpg", "turned.tif"])
def test_an_image_is_recorded_at_the_size_of_its_file_and_as_it_was_turned(ovseg, tmp_path, name):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (1100, 700), "red").save(tmp_path / name, exif=exif)
    assert segment(ovseg, tmp_path / "out", tmp_path / name) == 0
    (image,) = read(tmp_path / "out")["images"]
    assert (image["width"], image["height"]) == (700, 1100)
    assert image["source"] == {"file_name": name, "width": 1100, "height": 700, "is_turned": True}
    label_map, _ = decode_label_map(tmp_path / "out" / image["folder"] / "label_map.png")
    assert label_map.shape == (1100, 700)


def test_images_of_the_same_name_in_two_inputs_are_told_apart(ovseg, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        save_image(Path(folder, "same.png"))
    assert segment(ovseg, "out", "a", "b") == 0
    assert [image["file_name"] for image in read(Path("out"))["images"]] == ["a/same.png", "b/same.png"]


def test_the_formats_are_chosen(ovseg, images, tmp_path):
    output = tmp_path / "out"
    first = images / "part-0" / "0000.png"
    assert segment(ovseg, output, first, "--format", "label-map", "masks") == 0
    assert [path.name for path in folder_of(output, first).iterdir()] == ["label_map.png"]
    assert list((output / "masks").rglob("*.png"))
    assert segment(ovseg, output, first, "--format", "overlay") == 0, "a further format is no other setting"
    assert {path.name for path in folder_of(output, first).iterdir()} == {"label_map.png", "overlay.png"}
    assert list((output / "masks").rglob("*.png")), "and the earlier ones stay"
    options = ("--overwrite", "--granularity", 1, "--format", "overlay")
    assert segment(ovseg, output, first, *options) == 0
    assert {path.name for path in folder_of(output, first).iterdir()} == {"overlay.png"}
    assert not list((output / "masks").rglob("*.png")), "unless they tell of other settings"


def test_formats_for_all_images_are_one_data_set(ovseg, images, tmp_path, capsys):
    save_image(images / "part-0" / "0000.jpg")  # the same stem: each gets the name of its key
    output = tmp_path / "out"
    options = ("--format", "yolo", "label-studio", "voc")
    assert segment(ovseg, output, images / "part-1", *options) == 0
    assert segment(ovseg, output, images, *options) == 0
    labels = sorted((output / "yolo" / "labels").rglob("*.txt"))
    assert len(labels) == 5
    assert output / "yolo" / "labels" / "0001.txt" in labels, "a finished image keeps its name"
    assert output / "yolo" / "labels" / "part-2" / "0002.txt" in labels
    assert yaml_names(output / "yolo" / "data.yaml") == ["cat", "grass", "sky"]
    stems = (output / "voc" / "ImageSets" / "Segmentation" / "default.txt").read_text().split()
    assert len(stems) == len(set(stems)) == 5
    for stem in stems:
        assert (output / "voc" / "SegmentationClass" / f"{stem}.png").is_file()
    save_image(tmp_path / "other.png")
    assert segment(ovseg, output, tmp_path / "other.png", *options, classes="dog") == 2
    assert 'have the format "voc" with other classes' in capsys.readouterr().err
    assert segment(ovseg, output, tmp_path / "other.png", *options, "--overwrite", classes="dog") == 2
    assert 'have the format "voc" with other classes' in capsys.readouterr().err
    assert segment(ovseg, output, tmp_path / "other.png", *options, classes="auto") == 2
    assert "numbers the classes of the whole data set" in capsys.readouterr().err


def test_programs_that_import_one_file_get_one(ovseg, images, tmp_path):
    """Of all images, also where these have other class names."""
    output = tmp_path / "out"
    options = ("--format", "label-studio", "cvat")
    assert segment(ovseg, output, images / "part-0", *options, classes="dog, cat") == 0
    assert segment(ovseg, output, images / "part-1", images / "part-2", *options) == 0
    whole, merged = COCO(output / "annotations.json"), COCO(output / "cvat.json")
    assert masks_of(merged) == masks_of(whole)
    assert {name for _, name, _ in masks_of(merged)} > {"dog"}
    assert len(merged.anns) == len(merged.dataset["annotations"]) == len(whole.anns)
    tasks = json.loads((output / "label-studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [
        f"/data/local-files/?d={image['file_name']}" for image in whole.dataset["images"]
    ]
    for task, image in zip(tasks, whole.dataset["images"], strict=True):
        (path,) = (output / "label-studio").rglob(f"{Path(image['file_name']).stem}.json")
        assert [task] == json.loads(path.read_text())


def masks_of(data: COCO) -> list[tuple[str, str, bytes]]:
    """File name, class name and pixels of each mask."""
    return [
        (
            data.imgs[annotation["image_id"]]["file_name"],
            data.cats[annotation["category_id"]]["name"],
            data.annToMask(annotation).tobytes(),
        )
        for annotation in data.anns.values()
    ]


def test_a_file_name_of_the_greatest_length_is_segmented(ovseg, tmp_path):
    path = save_image(tmp_path / f"{'x' * 251}.png")
    assert segment(ovseg, tmp_path / "out", path, "--format", "yolo", "label-studio", "coco-polygons") == 0
    (image,) = read(tmp_path / "out")["images"]
    assert image["file_name"] == path.name


def test_images_of_one_name_in_two_runs_keep_their_files(ovseg, tmp_path):
    output = tmp_path / "out"
    for seed, folder in enumerate(("a", "B")):
        (tmp_path / folder).mkdir()
        save_image(tmp_path / folder / ("same.png" if seed else "Same.png"), seed)
        assert segment(ovseg, output, tmp_path / folder, "--format", "voc") == 0
    maps = sorted((output / "voc" / "SegmentationClass").rglob("*.png"))
    assert {Image.open(path).size for path in maps} == {SIZES[0], SIZES[1]}
    assert len((output / "voc" / "ImageSets" / "Segmentation" / "default.txt").read_text().split()) == 2


def yaml_names(path: Path) -> list[str]:
    lines = path.read_text().partition("names:\n")[2].splitlines()
    return [json.loads(line.partition(": ")[2]) for line in lines]


def test_suggested_names_make_categories_of_each_image(ovseg, images, tmp_path):
    assert segment(ovseg, tmp_path / "out", images, classes="auto") == 0
    assert segment(ovseg, tmp_path / "out", images, classes="auto") == 0
    merged = read(tmp_path / "out")
    (settings,) = merged["info"]["settings"]
    assert (settings["classes"], settings["suggested_classes"]) == ("auto", True)
    assert len(merged["categories"]) >= 10
    for image in merged["images"]:
        label_map, names = decode_label_map(tmp_path / "out" / image["folder"] / "label_map.png")
        by_id = {entry["id"]: entry["name"] for entry in merged["categories"]}
        found = [a["category_id"] for a in merged["annotations"] if a["image_id"] == image["id"]]
        assert {by_id[category] for category in found} == {names[i] for i in np.unique(label_map) if i >= 0}


def test_a_list_of_one_class_name_is_no_request_for_suggestions(ovseg, images, tmp_path):
    row = {"path": "part-0/0000.png", "classes": ["auto"]}
    (images / "list.jsonl").write_text(json.dumps(row))
    assert segment(ovseg, tmp_path / "out", images / "list.jsonl", classes=None) == 0
    (settings,) = read(tmp_path / "out")["info"]["settings"]
    assert (settings["classes"], settings["suggested_classes"]) == (["auto"], False)


# ---- resuming


def test_finished_images_are_skipped(ovseg, images, tmp_path, segmented, capsys):
    output = tmp_path / "out"
    assert segment(ovseg, output, images / "part-0") == 0
    before = contents(output)
    del segmented[:]
    assert segment(ovseg, output, images / "part-0") == 0
    assert (segmented, contents(output)) == ([], before)
    assert "0 done, 2 were finished before." in capsys.readouterr().out
    assert segment(ovseg, output, images) == 0
    assert len(segmented) == 2
    assert len(read(output)["images"]) == 4


def test_changed_and_lost_images_are_done_again(ovseg, images, tmp_path, segmented):
    output = tmp_path / "out"
    changed, lost = images / "part-0" / "0000.png", images / "part-1" / "0001.png"
    assert segment(ovseg, output, images) == 0
    del segmented[:]
    os.utime(images / "part-2" / "0002.png")  # the time is not the content
    save_image(changed, 1)
    (output / "images" / Item.of_file(lost, images).key / "label_map.png").unlink()
    assert segment(ovseg, output, images) == 0
    assert segmented == [(48, 32), (48, 32)]
    assert [image["height"] for image in read(output)["images"]] == [48, 32, 48, 40]


def test_a_lost_file_of_any_format_is_made_again(ovseg, images, tmp_path, segmented, capsys):
    output, options = tmp_path / "out", ("--format", "label-studio", "label-map")
    assert segment(ovseg, output, images, *options) == 0
    before = contents(output)
    del segmented[:]
    (output / "label-studio" / "part-0" / "0000.json").unlink()
    capsys.readouterr()
    assert segment(ovseg, output, images / "part-1", "--format", "label-map") == 2
    error = capsys.readouterr().err
    assert "0000.json" in error and "is missing; segment its image again" in error
    assert segment(ovseg, output, images, "--format", "label-map") == 0, "of a format not chosen"
    assert len(segmented) == 1
    (output / "label-studio" / "part-0" / "0003.json").unlink()
    assert segment(ovseg, output, images, *options) == 0
    assert len(segmented) == 2
    assert contents(output) == before


def test_a_run_that_is_refused_leaves_the_errors_of_the_last_one(ovseg, tmp_path):
    images, output = save_images(tmp_path / "images", 2, bad=(1,)), tmp_path / "out"
    assert segment(ovseg, output, images) == 1
    errors = (output / "errors.jsonl").read_text()
    assert segment(ovseg, output, images, "--granularity", 0.5) == 2
    assert (output / "errors.jsonl").read_text() == errors != ""


def test_changed_settings_are_named_and_replaced_on_request(ovseg, images, tmp_path, segmented, capsys):
    output = tmp_path / "out"
    assert segment(ovseg, output, images / "part-0") == 0
    before = contents(output)
    capsys.readouterr()
    assert segment(ovseg, output, images, "--granularity", 0.5) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert "2 images have results of other settings" in line
    assert "(granularity was 0.8, is 0.5)" in line
    assert "--overwrite" in line
    assert segment(ovseg, output, images, classes="dog") == 2
    assert "classes was cat / kitten, grass, sky, is dog" in capsys.readouterr().err
    assert contents(output) == before
    assert segment(ovseg, output, images, "--granularity", 0.5, "--overwrite") == 0
    assert {settings["granularity"] for settings in read(output)["info"]["settings"]} == {0.5}
    del segmented[:]
    assert segment(ovseg, output, images, "--granularity", 0.5, "--overwrite") == 0
    assert not segmented, "an interrupted overwriting run continues, too"


def test_a_cut_while_files_are_replaced_leaves_none_of_older_runs(ovseg, tmp_path, monkeypatch):
    image, output = save_image(tmp_path / "a.png"), tmp_path / "out"
    assert segment(ovseg, output, image, "--format", "overlay", "label-map", "yolo") == 0

    def cut(folder, name):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LocalFolder, "delete", cut)
        options = ("--overwrite", "--format", "label-map", "coco")
        assert segment(ovseg, output, image, *options, classes="dog") == 130
        options = ("--overwrite", "--format", "label-map", "masks")
        assert segment(ovseg, output, image, *options, classes="cow") == 130
    options = ("--overwrite", "--format", "label-map")
    assert segment(ovseg, output, image, *options, classes="dog") == 0
    assert [path.name for path in folder_of(output, image).iterdir()] == ["label_map.png"]
    assert not list((output / "yolo").rglob("*.txt"))
    assert not list((output / "masks").rglob("*.png"))
    assert len(read(output)["images"]) == 1


def test_a_journal_whose_removed_lines_name_no_files_is_read(ovseg, tmp_path):
    image, output = save_image(tmp_path / "a.png"), tmp_path / "out"
    assert segment(ovseg, output, image) == 0
    with (output / "records" / "part-000000.jsonl").open("a") as file:
        file.write(json.dumps({"id": Item.of_file(image).digest, "removed": True}) + "\n")
    assert segment(ovseg, output, image) == 0
    assert len(read(output)["images"]) == 1


def test_weights_are_known_by_their_content(ovseg, images, tmp_path, segmented, capsys):
    output, here, there = tmp_path / "out", tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copy(ovseg, here / "ovseg.pth")
    assert segment(here / "ovseg.pth", output, images / "part-1") == 0
    del segmented[:]
    weights = here.rename(there) / "ovseg.pth"
    assert segment(weights, output, images / "part-1") == 0
    assert not segmented, "a moved file is the same"
    assert segment(weights, output, images / "part-1", "--granularity", 0.5) == 2
    assert "(granularity was 0.8, is 0.5)" in capsys.readouterr().err
    content = torch.load(weights, weights_only=True)
    next(iter(content["model"].values())).add_(1)
    torch.save(content, weights)
    assert segment(weights, output, images / "part-1") == 2
    assert "the weights or the device changed" in capsys.readouterr().err
    assert segment(weights, output, images / "part-1", "--overwrite") == 0
    assert len(segmented) == 1


def test_other_images_may_have_other_settings(ovseg, images, tmp_path):
    output = tmp_path / "out"
    assert segment(ovseg, output, images / "part-0") == 0
    assert segment(ovseg, output, images / "part-1", classes="dog, sky") == 0
    merged = read(output)
    assert [entry["name"] for entry in merged["categories"]] == ["cat", "grass", "sky", "dog"]
    assert len(merged["info"]["settings"]) == 2


# ---- what goes wrong


def test_ctrl_c_keeps_what_is_done(ovseg, images, tmp_path, monkeypatch, capsys):
    real = Job.segment

    def interrupt(job, image, item, progress):
        if item.name == "0002.png":
            raise KeyboardInterrupt
        return real(job, image, item, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "segment", interrupt)
        assert segment(ovseg, tmp_path / "out", images) == 130
    end = capsys.readouterr().err
    assert "3 images are finished in" in end
    assert end.endswith("the same command continues.\nStopped.\n")
    assert len(read(tmp_path / "out")["images"]) == 3
    assert segment(ovseg, tmp_path / "out", images) == 0
    assert segment(ovseg, tmp_path / "whole", images) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_an_unexpected_error_is_recorded_with_its_place_but_many_in_a_row_end_the_run(
    ovseg, tmp_path, monkeypatch, capsys
):
    images = save_images(tmp_path / "images", 12)
    real, fails = Job.segment, {3, 5, 6, 7, 8, 9}

    def segment_some(job, image, item, progress):
        if int(item.name[:4]) in fails:
            raise ZeroDivisionError("a bug")
        return real(job, image, item, progress)

    monkeypatch.setattr(Job, "segment", segment_some)
    with pytest.raises(ZeroDivisionError):
        segment(ovseg, tmp_path / "out", *sorted(images.rglob("*.png"), key=lambda path: path.name))
    lines = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert "ZeroDivisionError: a bug" in lines[0]["error"]
    assert "in segment_some" in lines[0]["traceback"]
    fails.clear()
    assert segment(ovseg, tmp_path / "out", images) == 0
    assert (tmp_path / "out" / "errors.jsonl").read_text() == ""
    assert len(read(tmp_path / "out")["images"]) == 12


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_one_sentence_and_leaves_no_torn_file(ovseg, images, tmp_path, capsys):
    output = tmp_path / "out"
    last = output / "images" / Item.of_file(images / "part-1" / "0001.png", images).key
    last.mkdir(parents=True)
    (last / ".label_map.png.part").symlink_to("/dev/full")
    assert segment(ovseg, output, images) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert os.strerror(errno.ENOSPC) in errors[0]
    assert "the same command continues" in errors[0]
    assert list(last.iterdir()) == []
    assert len(list(journal_lines(output))) == 2
    assert segment(ovseg, output, images) == 0
    assert len(read(output)["images"]) == 4


def test_a_disk_that_fills_up_is_one_sentence_and_a_larger_one_continues(ovseg, tmp_path, capsys):
    images, output = save_images(tmp_path / "images", 24), tmp_path / "out"
    output.mkdir()
    with small_disk(output, 60_000) as disk:
        assert segment(ovseg, output, images) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "the same command continues" in errors[0]
        done = len(list(journal_lines(output)))
        assert 0 < done < 24
        assert not list(output.rglob("*.part"))
        disk.resize(8 * 2**20)
        assert segment(ovseg, output, images) == 0
        assert len(read(output)["images"]) == 24
        shutil.copytree(output, tmp_path / "continued")
    assert segment(ovseg, output, images) == 0  # in one go
    assert read(tmp_path / "continued") == read(output)


def test_a_journal_that_takes_no_more_is_one_sentence_and_not_torn(ovseg, images, tmp_path, capsys):
    output = tmp_path / "out"
    assert segment(ovseg, output, images / "part-0") == 0
    size = (output / "records" / "part-000000.jsonl").stat().st_size
    with file_limit(size + 100):
        assert segment(ovseg, output, images) == 2
    assert "no longer fit" in capsys.readouterr().err
    assert (output / "records" / "part-000000.jsonl").stat().st_size == size
    assert segment(ovseg, output, images) == 0
    assert len(read(output)["images"]) == 4


@pytest.mark.parametrize("record", ["records/part-000000.jsonl", "errors.jsonl"])
def test_a_record_that_cannot_be_written_says_why(ovseg, tmp_path, record, monkeypatch, capsys):
    images, output = save_images(tmp_path / "images", 3, bad=(1,)), tmp_path / "out"
    real = Job.segment

    def close_and_segment(job, *given):
        (output / record).unlink(missing_ok=True)
        (output / record).mkdir()
        return real(job, *given)

    monkeypatch.setattr(Job, "segment", close_and_segment)
    assert segment(ovseg, output, images) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f'recorded in "{output}" ({os.strerror(errno.EISDIR)}); make it writable, and the same' in error
    monkeypatch.undo()
    (output / record).rmdir()
    assert segment(ovseg, output, images) == 1  # one image is damaged
    assert len(read(output)["images"]) == 2


def test_a_merged_file_that_may_not_be_written_says_so(tmp_path):
    reason = rf"{os.strerror(errno.EACCES)}.*change its permissions"
    with ResultStore(tmp_path) as store, read_only(tmp_path), pytest.raises(OutputError, match=reason):
        store.merge()


def test_two_runs_do_not_write_to_one_folder(ovseg, images, tmp_path, capsys):
    (tmp_path / "out" / "records").mkdir(parents=True)
    with FileLock(tmp_path / "out" / "records" / "lock"):
        assert segment(ovseg, tmp_path / "out", images) == 2
    assert "Another run writes to" in capsys.readouterr().err


def test_a_damaged_record_is_named(ovseg, images, tmp_path, capsys):
    (tmp_path / "out" / "records").mkdir(parents=True)
    (tmp_path / "out" / "records" / "part-000000.jsonl").write_text("{}\nnothing\n{}\n")
    assert segment(ovseg, tmp_path / "out", images) == 2
    error = capsys.readouterr().err
    assert "part-000000.jsonl" in error
    assert "is damaged" in error


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_a_file_name_that_is_no_text_is_recorded(ovseg, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    save_image(tmp_path / "plain.png").rename(path)
    assert segment(ovseg, tmp_path / "out", path) == 0
    (image,) = read(tmp_path / "out")["images"]
    assert image["file_name"] == "caf?.png"
