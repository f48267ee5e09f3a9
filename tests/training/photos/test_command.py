"""``python -m ovseg_demo.training.photos`` as users meet it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.photos.__main__ import main
from ovseg_demo.training.photos.sam import PhotoSamTask
from ovseg_demo.training.photos.teacher import SentenceEncoder
from tests.training.photos.test_sam import TOY


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "/nope does not exist; name the file of tf_efficientnet_lite0's ImageNet weights with --trunk."),
        ("--steps 0", "--steps is 0; choose 1 or more."),
        ("--minutes 0", "--minutes is 0; choose a number above 0."),
    ],
)
def test_what_cannot_be_used_is_one_sentence(options: str, message: str, capsys) -> None:
    threads = f"--threads {torch.get_num_threads()}"
    assert main(f"{threads} sam --root /nope --trunk /nope {options}".split()) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize(
    ("stage", "option"),
    [
        ("sam", "--trunk"),
        ("features", "--trunk"),
        ("text", "--teacher"),
        ("text", "--init"),
        ("clip", "--text"),
        ("maskformer", "--sam"),
        ("bundle", "--clip"),
    ],
)
@pytest.mark.parametrize("content", ["missing", "a folder", "a text", "another network"])
def test_a_file_that_cannot_be_used_is_one_sentence(
    stage: str, option: str, content: str, photographs: Path, tmp_path: Path, capsys
) -> None:
    given = tmp_path / "given.pth"
    if content == "a folder":
        given.mkdir()
    elif content == "a text":
        given.write_text("hello, this is a text")
    elif content == "another network":
        torch.save({"weight": torch.zeros(2)}, given)
    bundled = "weights/photo-mini/photo_mini_"
    others = {
        "features": {},
        "text": {"--teacher": "/nope", "--wordnet": tmp_path},
        "clip": {"--trunk": "/nope"},
        "bundle": {"--sam": f"{bundled}sam.pth", "--maskformer": f"{bundled}maskformer.pth"},
    }
    options = {"--out": tmp_path / "out", **others.get(stage, {}), option: given}
    if stage != "bundle":
        options["--root"] = photographs
    (tmp_path / "index.noun").write_text("cat n 1 1 @ 1 1 00000002\n")
    command = [f"--threads={torch.get_num_threads()}", stage]
    assert main([*command, *(f"{name}={value}" for name, value in options.items())]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert str(given) in error
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("hello, this is a text")
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(BertModel=None))
    with pytest.raises(CheckpointError, match=r"cannot be read .*; name the folder of all-MiniLM-L6-v2"):
        SentenceEncoder(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_trunk_computes_in_the_chosen_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    task, found = PhotoSamTask(TOY, tmp_path), []
    task.sam.image_encoder.trunk.conv_stem.register_forward_hook(lambda *call: found.append(call[2].dtype))
    with Runtime(torch.device("cpu"), dtype).autocast():
        task.encode(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert found == [dtype]
