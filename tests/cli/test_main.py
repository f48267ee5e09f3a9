"""The command line as users meet it: files, messages, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.cli.main import COMMANDS, main
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import Job
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.vocabularies.class_lists import suggestion_candidates
from tests.export.test_folder import file_limit
from tests.paths import ROOT
from tests.test_images import png_header
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam

FILES = ["label_map.png", "overlay.png", "segmentation.json"]


@pytest.fixture(scope="module")
def ovseg(tmp_path_factory):
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth", "narrow")


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    return save_tiny_sam(tmp_path_factory.mktemp("weights") / "sam.pth")


@pytest.fixture
def images(tmp_path):
    """A folder with two images, and a text beside them that a folder's listing leaves out."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(("first.png", "second.jpg")):
        save_image(folder / name, seed)
    (folder / "notes.txt").write_text("a cat")
    return folder


def result_folder(image: Path) -> str:
    """The folder of an image's results within the output folder."""
    return f"images/{Item.of_file(image).key}"


def save_image(path: Path, seed: int = 0) -> Path:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(blocks.repeat(16, axis=0).repeat(16, axis=1)).save(path)
    return path


def run(*arguments: object) -> int:
    """The exit code, whichever way it comes."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as exit_:
        return exit_.code


def segment(ovseg: Path, output: Path, *arguments: object, classes: str = "cat / kitten, grass, sky") -> int:
    return run("segment", "--classes", classes, "--ovseg", ovseg, "--output", output, *arguments)


def read_record(output: Path, image: Path) -> dict:
    return json.loads((output / result_folder(image) / "segmentation.json").read_text(encoding="utf-8"))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- segment


def test_an_image_gets_its_map(ovseg, images, tmp_path, capsys):
    output = tmp_path / "out"
    assert segment(ovseg, output, images / "first.png", "--device", "cpu") == 0
    assert files_in(output / result_folder(images / "first.png")) == FILES
    label_map, names = decode_label_map(output / result_folder(images / "first.png") / "label_map.png")
    assert label_map.shape == (64, 96)
    assert names == ("cat", "grass", "sky")
    record = json.loads(
        (output / result_folder(images / "first.png") / "segmentation.json").read_text(encoding="utf-8")
    )
    assert [category["name"] for category in record["categories"]] == list(names)
    printed = capsys.readouterr()
    assert "3 classes: cat / kitten, grass, sky" in printed.out
    assert "first.png → " in printed.out
    assert "Images: 100%" in printed.err
    assert "Embedding regions" in printed.err


def test_settings_reach_the_segmenter_and_are_kept(ovseg, sam, images, tmp_path):
    settings = {"granularity": 1, "templates": "photo", "classifier": "mask-adapted-no-prompts"}
    options = [option for name, value in settings.items() for option in (f"--{name}", value)]
    code = segment(
        ovseg, tmp_path, images / "first.png", "--sam", sam, "--generator", "maskformer", *options,
        "--distractors", "wall, floor", "--precision", "float32",
    )  # fmt: skip
    assert code == 0
    kept = json.loads((tmp_path / result_folder(images / "first.png") / "segmentation.json").read_text())[
        "info"
    ]["settings"]
    assert kept["generator"] == "maskformer"
    assert kept["distractors"] == ["wall", "floor"]
    assert kept["kept_masks"] <= 3, "at granularity 1 each class has one mask"
    assert {name: kept[name] for name in settings} == settings


def test_segment_anything_runs_too_and_no_mask_is_a_result(ovseg, sam, images, tmp_path):
    """Most masks of random weights fail the default thresholds."""
    assert segment(ovseg, tmp_path, images / "first.png", "--sam", sam, "--generator", "sam") == 0
    record = read_record(tmp_path, images / "first.png")
    assert record["info"]["settings"]["generator"] == "sam"


def test_segment_anything_can_use_fewer_points(ovseg, sam, images, tmp_path, capsys):
    options = (images / "first.png", "--sam", sam, "--generator", "sam", "--points-per-side")
    assert segment(ovseg, tmp_path, *options, 4) == 0
    assert segment(ovseg, tmp_path, *options, 0) == 2
    assert '"0" is neither a whole number from 1 to 64 nor "auto"' in capsys.readouterr().err
    assert segment(ovseg, tmp_path, *options[:-1], "--points", "auto", "--overwrite") == 0


def test_folders_patterns_and_files_are_segmented_once_each(ovseg, images, tmp_path):
    output = tmp_path / "out"
    assert segment(ovseg, output, images, images / "*.png", images / "first.png") == 0
    folders = [result_folder(images / name) for name in ("first.png", "second.jpg")]
    assert files_in(output / "images") == sorted(
        f"{folder}/{file}".removeprefix("images/") for folder in folders for file in FILES
    )


def test_bad_files_are_named_at_the_end_and_the_others_are_done(ovseg, images, tmp_path, capsys):
    output = tmp_path / "out"
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (tmp_path / "empty").mkdir()
    inputs = [images / "nowhere.png", images, tmp_path / "*.bmp", tmp_path / "empty"]
    assert segment(ovseg, output, *inputs) == 1
    expected = {result_folder(images / name) for name in ("first.png", "second.jpg")}
    assert {f"images/{path.name}" for path in (output / "images").iterdir()} == expected
    end = capsys.readouterr().err.partition("4 of 6 could not be segmented:\n")[2]
    assert '"nowhere.png" does not exist' in end
    assert '"broken.png" is' in end
    assert 'No file matches "*.bmp"' in end
    assert 'The folder "empty" holds no images' in end
    assert "Traceback" not in end
    assert str(tmp_path) not in end


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_an_image_of_too_many_pixels_is_named_without_a_warning(ovseg, tmp_path, capsys):
    (tmp_path / "huge.png").write_bytes(png_header(10_000, 10_000))
    assert segment(ovseg, tmp_path / "out", tmp_path / "huge.png") == 1
    assert '"huge.png" has more than 50 million pixels (10000×10000)' in capsys.readouterr().err


def test_nothing_is_loaded_when_no_image_is_meant(tmp_path, capsys):
    assert (
        run("segment", tmp_path / "*.png", "--classes", "a", "--model", "no-such", "--output", tmp_path) == 1
    )
    assert "1 of 1 could not be segmented" in capsys.readouterr().err


def test_a_long_list_of_failures_is_cut_only_where_a_file_has_all(ovseg, images, tmp_path, capsys):
    missing = [images / f"{number}.png" for number in range(25)]
    patterns = [images / f"{number}*.bmp" for number in range(25)]
    assert run("segment", *patterns, "--suggest") == 1
    end = capsys.readouterr().err
    assert end.count("No file matches") == 25 and "more in" not in end
    sentence = '.png" does not exist'
    assert run("segment", images / "first.png", *missing, "--ovseg", ovseg, "--suggest") == 1
    end = capsys.readouterr().err
    assert end.count(sentence) == 25 and "more in" not in end
    assert segment(ovseg, tmp_path / "out", images / "first.png", *missing) == 1
    end = capsys.readouterr().err
    assert end.count(sentence) == 20 and "… and 5 more in errors.jsonl" in end
    assert (tmp_path / "out" / "errors.jsonl").read_text().count(sentence.replace('"', '\\"')) == 25


def test_each_image_has_a_folder_of_its_own_in_any_order_and_run(ovseg, images, tmp_path):
    (images / "sub").mkdir()
    paths = [images / "first.png", images / "First.jpg", images / "sub" / "first.png", images / "...jpg"]
    for seed, path in enumerate(paths[1:], start=7):
        save_image(images / "other.png", seed).rename(path)
    folders = {path: result_folder(path) for path in paths}
    assert len({name.casefold() for name in folders.values()}) == 4
    assert segment(ovseg, tmp_path / "out", *paths[:2]) == 0
    assert segment(ovseg, tmp_path / "out", *reversed(paths)) == 0
    made = {f"images/{path.name}" for path in (tmp_path / "out" / "images").iterdir()}
    assert made == set(folders.values())
    for path in folders:
        record = read_record(tmp_path / "out", path)
        assert record["images"][0]["file_name"] == path.name


def test_a_record_names_its_file_and_all_settings(ovseg, images, tmp_path):
    turned = images / "turned.jpg"
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40), "red").save(turned, exif=exif)
    assert segment(ovseg, tmp_path / "out", turned) == 0
    record = read_record(tmp_path / "out", turned)
    (image,) = record["images"]
    assert (image["width"], image["height"]) == (40, 60)
    assert image["source"] == {"file_name": "turned.jpg", "width": 60, "height": 40, "is_turned": True}
    settings = record["info"]["settings"]
    expected = {
        "model": None,
        "weights_files": {"ovseg": str(ovseg)},
        "device": "auto",
        "precision": "auto",
        "points_per_side": None,
        "generator": "maskformer",
        "classifier": "mask-adapted",
        "templates": "vild",
        "granularity": 0.8,
        "distractors": [],
    }
    assert {name: settings[name] for name in expected} == expected


def test_an_image_that_is_too_large_for_memory_stops_nothing(ovseg, images, tmp_path, monkeypatch, capsys):
    real = MaskFormerProposalGenerator.__call__

    def fail_once(generator, image, **options):
        if image.shape[:2] == (40, 40):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return real(generator, image, **options)

    Image.new("RGB", (40, 40)).save(images / "a_large.png")
    monkeypatch.setattr(MaskFormerProposalGenerator, "__call__", fail_once)
    assert segment(ovseg, tmp_path / "out", images / "a_large.png", images / "first.png") == 1
    assert '"a_large.png": There is too little memory for this image' in capsys.readouterr().err
    made = [f"images/{path.name}" for path in (tmp_path / "out" / "images").iterdir()]
    assert made == [result_folder(images / "first.png")]


def test_twelve_bits_in_sixteen_are_named_and_can_be_stretched(ovseg, images, tmp_path, capsys):
    dark = images / "dark.png"
    Image.fromarray(np.tile(np.arange(64, dtype=np.uint16) * 64, (64, 1))).save(dark)
    assert segment(ovseg, tmp_path / "out", dark) == 1
    assert '"dark.png" is dark: its values reach 4,032 of 65,535' in capsys.readouterr().err
    assert segment(ovseg, tmp_path / "out", dark, "--stretch") == 0
    record = read_record(tmp_path / "out", dark)
    assert record["info"]["settings"]["stretch"] is True
    assert record["images"][0]["source"]["file_name"] == "dark.png"


def test_memory_that_is_full_while_a_map_is_drawn_or_written_stops_nothing(
    ovseg, images, tmp_path, monkeypatch, capsys
):
    errors = iter([MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), None])
    real = Job.describe

    def describe(*arguments):
        error = next(errors)
        if error is not None:
            raise error
        return real(*arguments)

    save_image(images / "third.png", 3)
    monkeypatch.setattr(Job, "describe", describe)
    assert segment(ovseg, tmp_path / "out", images) == 1
    end = capsys.readouterr().err.partition("2 of 3 could not be segmented:\n")[2]
    assert end.count("There is too little memory for this image; scale it down.") == 2
    assert files_in(tmp_path / "out" / result_folder(images / "third.png")) == FILES


def test_a_result_that_cannot_be_written_stops_no_other(ovseg, images, tmp_path, capsys):
    """One folder's place is taken by a file; one result is larger than a file may be."""
    save_image(images / "third.png", 3)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    Image.fromarray(noise).save(images / "a_large.png")
    output = tmp_path / "out"
    (output / "images").mkdir(parents=True)
    (output / result_folder(images / "first.png")).write_text("a file")
    with file_limit(250_000):
        assert segment(ovseg, output, images) == 1
    end = capsys.readouterr().err.partition("2 of 4 could not be segmented:\n")[2]
    assert '"a_large.png": "' in end
    assert '"first.png": "' in end
    assert end.count("cannot be written to") == 2
    assert "Traceback" not in end
    for name in ("second.jpg", "third.png"):
        assert files_in(output / result_folder(images / name)) == FILES
    assert files_in(output / result_folder(images / "a_large.png")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", " , "], "No class name was given"),
        (["--model", "no-such"], 'There is no model "no-such"'),
        (["--generator", "no-such"], 'There is no proposal generator "no-such"'),
        (["--generator", "sam"], "This model has no Segment Anything"),
        (["--granularity", "7"], "granularity 7"),
        (["--granularity", "fine"], "invalid float value"),
        (["--templates", "no-such"], "invalid choice"),
        (["--templates", "learned"], "no learned prompts"),
        (["--classifier", "un-adapted"], "no un-adapted CLIP"),
        (["--device", "tpu"], "invalid choice"),
        (["--sam", "nowhere.pth"], "nowhere.pth"),
        (["--clas", "a"], "unrecognized arguments"),
    ],
)
def test_what_users_can_mend_is_one_sentence_and_exit_code_2(
    ovseg, images, tmp_path, capsys, arguments, message
):
    assert segment(ovseg, tmp_path / "out", images / "first.png", *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not any("Traceback" in line for line in lines)


def test_weights_of_the_wrong_kind_are_refused(sam, images, tmp_path, capsys):
    assert segment(sam, tmp_path / "out", images / "first.png") == 2
    assert "error: " in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_named(ovseg, images, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert segment(ovseg, tmp_path / "out", images / "first.png") == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(images, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ovseg_demo.cli.segment.load_chosen", interrupt)
    assert run("segment", images, "--classes", "a", "--output", tmp_path) == 130
    assert capsys.readouterr().err == "Stopped.\n"


# ---- models and download


def test_models_lists_the_whole_catalogue(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path))
    assert run("models") == 0
    printed = capsys.readouterr().out
    for spec in CATALOGUE.values():
        assert f"{spec.name}: {spec.title}" in printed
        assert f"about {spec.seconds:g} s for " in printed
        for file in spec.required.values():
            assert file.name in printed
            assert file.licence in printed
        assert (f"python -m ovseg_demo download {spec.name}\n" in printed + "\n") == (not spec.bundled)


def test_models_lists_what_is_present(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"weights")
    run("models")
    lines = [line for line in capsys.readouterr().out.splitlines() if "sam_vit_b_01ec64.pth" in line]
    assert lines
    assert all(line.endswith("present") for line in lines)


@pytest.mark.parametrize(
    ("options", "roles"), [([], ("ovseg", "sam")), (["--all"], ("ovseg", "sam", "unadapted"))]
)
def test_download_fetches_the_parts_of_a_model(capsys, monkeypatch, tmp_path, options, roles):
    asked = {}

    def download_model(spec, *, roles, progress):
        asked.update(name=spec.name, roles=roles)
        for done in (0, 50, 100):
            progress("Downloading x.pth", done, 100)
        return {role: tmp_path / f"{role}.pth" for role in roles}

    monkeypatch.setattr("ovseg_demo.cli.download.download_model", download_model)
    assert run("download", "ovseg-swinb-vitl14", *options) == 0
    assert asked == {"name": "ovseg-swinb-vitl14", "roles": roles}
    printed = capsys.readouterr()
    assert "Downloading x.pth: 100%" in printed.err
    for role in roles:
        assert f"{tmp_path / role}.pth (" in printed.out


def test_download_fetches_a_model_of_open_clip(capsys, monkeypatch, tmp_path):
    asked = []

    def download(file, *, progress):
        asked.append(file.name)
        return tmp_path / file.name

    monkeypatch.setattr("ovseg_demo.cli.download.download", download)
    assert run("download", "open_clip:ViT-B-32/laion2b_s34b_b79k") == 0
    assert asked == ["ViT-B-32-laion2b_s34b_b79k.safetensors"]
    assert f"{tmp_path / asked[0]} (licence: see its publisher)" in capsys.readouterr().out
    assert run("download", "open_clip:ViT-B-32") == 2
    assert 'has no tag; write "open_clip:NAME/TAG"' in capsys.readouterr().err


def test_an_unknown_model_to_download_is_an_error(capsys):
    assert run("download", "no-such") == 2
    assert capsys.readouterr().err.startswith('error: There is no model "no-such"; choose one of ')


# ---- suggested classes


def test_suggestions_are_printed_and_nothing_is_written(ovseg, images, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files_in(tmp_path)
    assert run("segment", images, "--ovseg", ovseg, "--suggest") == 0
    assert files_in(tmp_path) == before
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["first.png", "second.jpg"]
    for line in lines:
        names = line.split(": ")[1].split(", ")
        assert len(names) == len(set(names)) == 10
        assert set(names) <= {candidate.name for candidate in suggestion_candidates()}


def test_automatic_classes_are_those_that_are_suggested(ovseg, images, tmp_path, capsys):
    image = images / "first.png"
    assert run("segment", image, "--ovseg", ovseg, "--suggest") == 0
    suggested = capsys.readouterr().out.strip().removeprefix("first.png: ").split(", ")
    assert segment(ovseg, tmp_path, image, classes="auto") == 0
    record = read_record(tmp_path, image)
    assert [category["name"] for category in record["categories"]] == suggested
    assert record["info"]["settings"]["suggested_classes"] is True
    assert segment(ovseg, tmp_path, image, "--overwrite") == 0
    assert read_record(tmp_path, image)["info"]["settings"]["suggested_classes"] is False


def test_an_image_without_masks_is_named_at_the_end(ovseg, sam, images, tmp_path, capsys):
    """No mask of random weights has a predicted IoU of more than 0.88, the default threshold."""
    model = ("--ovseg", ovseg, "--sam", sam, "--generator", "sam")
    assert run("segment", images / "first.png", *model, "--suggest") == 1
    assert 'No class name can be suggested for "first.png"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "--classes and --output must be given"),
        (("--classes", "cat"), "--output must be given"),
        (("--output", "out"), "--classes must be given"),
        (("--suggest", "--classes", "cat"), "leave out --classes and --output"),
        (("--suggest", "--output", "out"), "leave out --classes and --output"),
        (("--suggest", "--workers", "0"), "--workers is 0; choose 1 or more."),
        (("--suggest", "--gpus-per-worker", "-1"), "--gpus-per-worker is -1; choose 0 or more."),
        (("--suggest", "--gpus-per-worker", "nan"), "--gpus-per-worker is nan; choose 0 or more."),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(images, capsys, options, sentence):
    assert run("segment", images, *options) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert sentence in message
    assert message.count("\n") == 1


# ---- the parser


@pytest.mark.parametrize("arguments", [[], ["no-such"], ["download"], ["models", "--no-such"]])
def test_wrong_usage_is_one_sentence_and_exit_code_2(capsys, arguments):
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "--help" in message


def test_help_lists_all_commands_without_importing_torch():
    code = (
        "import sys; from ovseg_demo.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as exit_: assert exit_.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name, command in COMMANDS.items():
        assert name in printed
        assert command.summary in printed


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(capsys, command):
    assert run(command, "--help") == 0
    assert f"python -m ovseg_demo {command}" in capsys.readouterr().out


def test_the_package_runs_as_a_module():
    process = subprocess.run(
        [sys.executable, "-m", "ovseg_demo", "download", "猫"],
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
    )
    assert process.returncode == 2
    assert process.stderr.startswith('error: There is no model "?"')
