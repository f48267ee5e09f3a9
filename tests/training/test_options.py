"""Each training stage takes the options that it reads, and no others."""

import json

import pytest

from ovseg_demo.cli.main import main
from ovseg_demo.errors import ModelError
from ovseg_demo.training.command import PLAN, STAGES, plan_all
from ovseg_demo.training.options import AllOptions, ClipOptions, SamOptions
from ovseg_demo.training.schedule import LoopSettings


@pytest.mark.parametrize(
    "command",
    [
        "bundle --preset toy",
        "bundle --device cpu",
        "clip --root coco",
        "clip --unmasked",
        "sam --pairs pairs",
        "maskformer --depth 2",
        "pairs --steps 3",
        "pairs --seed 1",
        "label-pairs --minutes 3",
        "finetune --depth 1",
        "mask-prompts --unmasked",
        "all --init weights.pt",
        "all --steps 3",
    ],
)
def test_what_a_stage_does_not_read_it_does_not_take(command, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", *command.split()])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: unrecognized arguments: {' '.join(command.split()[1:])}; ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sam --steps many", "argument --steps: invalid int value: 'many'"),
        ("sam --device tpu", "argument --device: invalid choice: 'tpu'"),
        ("fly", "argument STAGE: invalid choice: 'fly'"),
        ("sam --steps 0", "--steps is 0; choose 1 or more."),
        ("sam --seed -1", "--seed is -1; choose 0 or more."),
        ("sam --minutes 0", "--minutes is 0; choose a number above 0."),
        ("sam --batch-size -8", "--batch-size is -8; choose 1 or more."),
        ("sam --preset huge", 'There is no training preset "huge"; choose one of toy, coco, sticker-world.'),
        ("all --preset coco", "The preset coco starts from published weights: train its stages one by one."),
    ],
)
def test_a_wrong_value_is_one_sentence(command, message, capsys):
    try:
        code = main(["train", *command.split()])
    except SystemExit as end:
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("stage", [*STAGES, "all"])
def test_help_describes_every_option(stage, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", stage, "--help"])
    assert end.value.code == 0
    assert "--out OUT" in capsys.readouterr().out


def test_given_options_replace_the_presets(tmp_path):
    loop = LoopSettings(steps=10, batch_size=4, workers=3)
    changed = SamOptions(steps=7, rate=2.0, seed=5).apply_to(loop)
    assert changed == LoopSettings(steps=7, batch_size=4, workers=3, rate=2.0, seed=5)
    assert ClipOptions(out=tmp_path).folder == tmp_path / "clip"
    assert ClipOptions(out=tmp_path, name="other").folder == tmp_path / "other"


def test_all_stages_share_the_options_that_they_have(tmp_path):
    plan = plan_all(AllOptions(preset="toy", out=tmp_path, seed=3, workers=2, rate=0.5, minutes=1.0))
    assert [options.name for options in plan] == [name for _, name, _ in PLAN]
    assert {options.seed for options in plan if hasattr(options, "seed")} == {3}
    assert {options.workers for options in plan if hasattr(options, "workers")} == {2}
    rates = {options.name: options.rate for options in plan if hasattr(options, "rate")}
    assert rates["finetune"] == 0.5 and rates["mask-prompts-only"] == 25.0
    sam = next(options for options in plan if options.name == "sam")
    assert sam.clip == tmp_path / "clip/weights.pt"


def test_a_variant_has_a_folder_of_its_own(tmp_path):
    command = ["--preset=toy", "--device=cpu", f"--out={tmp_path}", "--name=short", "--steps=1"]
    assert main(["train", "sam", *command]) == 0
    lines = (tmp_path / "short/log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 1


def test_options_of_a_script_are_checked_too():
    with pytest.raises(ModelError, match="--workers is -1"):
        SamOptions(workers=-1)
