"""The whole pipeline at toy size: from random weights to files that the program segments with."""

import json

import pytest

from ovseg_demo import load_segmenter
from ovseg_demo.cli.main import main
from ovseg_demo.sticker_world import render_scene
from ovseg_demo.training.command import PLAN


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert main(train_all(folder)) == 0
    return folder


def train_all(folder):
    return [
        *("train", "all", "--preset=toy", f"--out={folder}", "--rate=2"),
        *("--device=cpu", "--precision=float32"),
    ]


def test_each_stage_writes_its_folder(runs):
    assert {path.name for path in runs.iterdir() if path.is_dir()} == {name for _, name, _ in PLAN} | {"data"}


def test_prompts_alone_take_larger_steps(runs):
    on_top, alone = (
        json.loads((runs / name / "log.jsonl").read_text().splitlines()[0])["learning_rate"]
        for name in ("mask-prompts", "mask-prompts-only")
    )
    assert alone == pytest.approx(50 * on_top)  # --rate multiplies both


@pytest.mark.parametrize("generator", ["maskformer", "sam"])
def test_the_bundle_segments(runs, generator):
    files = {name: runs / "bundle" / f"sticker_world_{name}.pth" for name in ("ovseg", "sam", "clip")}
    segmenter = load_segmenter(
        ovseg=files["ovseg"],
        sam=files["sam"],
        unadapted=files["clip"],
        device="cpu",
        sam_options={"points_per_side": 4, "pred_iou_thresh": -9.0, "stability_score_thresh": 0.0},
    )
    assert set(segmenter.classifiers) == {"mask-adapted", "mask-adapted-no-prompts", "un-adapted"}
    image = render_scene(900_000, "validation", (160, 120)).image
    segmentation = segmenter.segment(image, "cat, sky, grass", generator=generator, granularity=0.0)
    assert segmentation.label_map.shape == (120, 160)
    assert segmentation.legend()


def test_a_second_run_has_nothing_left_to_do(runs, capsys):
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/checkpoint.pt")}
    assert before
    assert main(train_all(runs)) == 0
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/checkpoint.pt")} == before
