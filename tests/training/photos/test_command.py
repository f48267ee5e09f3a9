"""``python -m ovseg_demo.training.photos`` as users meet it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.photos.__main__ import main
from ovseg_demo.training.photos.sam import PhotoSamTask
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_trunk_computes_in_the_chosen_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    task, found = PhotoSamTask(TOY, tmp_path), []
    task.sam.image_encoder.trunk.conv_stem.register_forward_hook(lambda *call: found.append(call[2].dtype))
    with Runtime(torch.device("cpu"), dtype).autocast():
        task.encode(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))
    assert found == [dtype]
