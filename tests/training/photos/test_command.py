"""``python -m ovseg_demo.training.photos`` as users meet it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.photos import text_tower
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


class _Teacher:
    """A made-up sentence encoder, whose answers depend on its file of weights."""

    def __init__(self, folder: Path):
        self.seed = int((folder / "model.safetensors").read_text())

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        random = torch.Generator().manual_seed(self.seed)
        return torch.nn.functional.normalize(torch.randn(len(texts), 24, generator=random), dim=-1)

    names = __call__


def test_the_text_tower_goes_on_with_the_same_teacher_only(
    photographs: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(text_tower, "SentenceEncoder", _Teacher)
    for name in ("teacher", "other-teacher", "wordnet", "other-wordnet"):
        (tmp_path / name).mkdir()
    for number, name in enumerate(("teacher", "other-teacher")):
        (tmp_path / name / "model.safetensors").write_text(str(number))
    for noun, name in (("cat", "wordnet"), ("dog", "other-wordnet")):
        (tmp_path / name / "index.noun").write_text(f"{noun} n 1 1 @ 1 1 00000002\n")
    shutil.copytree(photographs / "imagenet_sample", tmp_path / "photographs" / "imagenet_sample")
    given = {"root": photographs, "teacher": tmp_path / "teacher", "wordnet": tmp_path / "wordnet"}
    given |= {"out": tmp_path / "out", "steps": 1, "batch-size": 2}

    def command(**changes: Path) -> int:
        options = [f"--{name}={value}" for name, value in (given | changes).items()]
        return main([f"--threads={torch.get_num_threads()}", "text", *options])

    assert command() == command() == 0
    (first,) = (tmp_path / "out").glob("nouns-*.pt")
    for name, other in {
        "teacher": tmp_path / "other-teacher",
        "wordnet": tmp_path / "other-wordnet",
        "root": tmp_path / "photographs",
    }.items():
        capsys.readouterr()
        assert command(**{name: other}) == 2
        error = capsys.readouterr().err
        assert f"--{name} was " in error and error.count("\n") == 1
    (tmp_path / "out" / "checkpoint.pt").unlink()
    assert command(teacher=tmp_path / "other-teacher") == 0
    second = next(path for path in (tmp_path / "out").glob("nouns-*.pt") if path != first)
    before, after = (torch.load(path)[1] for path in (first, second))
    assert before.shape == after.shape and not torch.equal(before, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_trunk_computes_in_the_chosen_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    task, found = PhotoSamTask(TOY, tmp_path), []
    task.sam.image_encoder.trunk.conv_stem.register_forward_hook(lambda *call: found.append(call[2].dtype))
    with Runtime(torch.device("cpu"), dtype).autocast():
        task.encode(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert found == [dtype]
