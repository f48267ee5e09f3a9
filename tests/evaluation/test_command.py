"""``python -m ovseg_demo evaluate`` as users meet it."""

import json

import numpy as np
import pytest

from ovseg_demo import EnsembleRule, load_segmenter
from ovseg_demo.cli.main import main
from ovseg_demo.evaluation.sticker_world import StickerScenes
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from tests.evaluation.test_pascal import save_voc
from tests.tiny.checkpoints import save_tiny_ovseg


@pytest.fixture(scope="module")
def ovseg(tmp_path_factory):
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth")


@pytest.fixture
def voc(tmp_path):
    values = np.zeros((48, 64), np.uint8)
    values[:, 20:], values[30:] = 3, 15
    save_voc(tmp_path, size=(64, 48), values=values)
    return tmp_path


@pytest.fixture
def small_scenes(monkeypatch):
    def draw(first, count):
        return StickerScenes(tuple(range(first, first + count)), size=(96, 64))

    monkeypatch.setattr(StickerScenes, "from_seed", draw)


def evaluate(ovseg, folder, *arguments):
    """Return the exit code; ``folder`` keeps the records of interrupted runs."""
    argv = [
        "evaluate",
        "--ovseg",
        ovseg,
        "--records",
        folder / "records",
        "--precision",
        "float32",
        *arguments,
    ]
    try:
        return main([str(value) for value in argv])
    except SystemExit as exit_:
        return exit_.code


def test_a_benchmark_is_measured_printed_and_written(ovseg, voc, capsys):
    record = voc / "figures.json"
    assert (
        evaluate(ovseg, voc, "--dataset", "pascal-voc-20", "--root", voc, "--json", record, "--bottleneck")
        == 0
    )
    printed = capsys.readouterr()
    assert "1/1" in printed.err, "the progress bar"
    assert "pascal-voc-20, 1 images, maskformer, mask-adapted, ensemble, 0.45:" in printed.out
    assert "  oracle classifier: mIoU" in printed.out
    written = json.loads(record.read_text())
    assert (written["dataset"], written["images"]) == ("pascal-voc-20", 1)
    assert written["settings"] == {
        "generator": "maskformer",
        "classifier": "mask-adapted",
        "rule": "ensemble",
        "clip_weight": 0.45,
    }
    assert len(written["classes"]) == 20
    assert sum(entry["true_pixels"] for entry in written["classes"]) == 64 * 48 - 20 * 30
    assert (written["base_miou"], written["novel_miou"], written["harmonic_mean"]) == (None, None, None)
    known = [entry["iou"] for entry in written["classes"] if entry["iou"] is not None]
    assert written["miou"] == pytest.approx(np.mean(known), abs=0.01)
    assert set(written["bottleneck"]) == {"oracle_masks", "oracle_classifier"}
    table = printed.out.split("\n\n")[0].splitlines()
    assert len(table) == 1 + len(known)
    assert not list((voc / "records").iterdir()), "a complete run leaves no record"


def test_sticker_world_has_base_and_novel_classes(ovseg, small_scenes, tmp_path, capsys):
    record = tmp_path / "figures.json"
    scenes = ("--scenes", 2, "--seed", 5)
    settings = ("--rule", "granularity", "--granularity", "0.5", "--classifier", "mask-adapted-no-prompts")
    assert evaluate(ovseg, tmp_path, *scenes, *settings, "--json", record) == 0
    assert (
        "sticker-world, 2 images, maskformer, mask-adapted-no-prompts, granularity, 0.5:"
        in capsys.readouterr().out
    )
    written = json.loads(record.read_text())
    assert len(written["classes"]) == 240
    assert {"base_miou", "novel_miou", "harmonic_mean"} <= written.keys()
    assert sum(entry["true_pixels"] for entry in written["classes"]) == 2 * 96 * 64


def test_the_same_command_goes_on_with_an_interrupted_run(ovseg, small_scenes, tmp_path, monkeypatch, capsys):
    load, loaded = StickerScenes.load, []

    def load_and_stop(self, key):
        if len(loaded) == 1:
            raise KeyboardInterrupt
        loaded.append(key)
        return load(self, key)

    monkeypatch.setattr(StickerScenes, "load", load_and_stop)
    assert evaluate(ovseg, tmp_path, "--scenes", 2) == 130
    assert len(list((tmp_path / "records").iterdir())) == 1
    loaded.clear()
    assert evaluate(ovseg, tmp_path, "--scenes", 2) == 0
    assert loaded == ["1"]
    assert "2 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "coco"], "invalid choice"),
        (["--dataset", "pascal-voc-20"], "--root"),
        (["--dataset", "pascal-voc-20", "--root", "nowhere"], "The data set was not found"),
        (["--root", "nowhere"], "leave out --root"),
        (["--scenes", "0"], "choose at least 1 scene"),
        (["--generator", "sam"], "This model has no Segment Anything"),
        (["--classifier", "un-adapted"], "no un-adapted CLIP"),
        (["--model", "no-such"], 'There is no model "no-such"'),
        (["--granularity", "7", "--rule", "granularity"], "granularity 7"),
        (["--clip-weight", "2", "--rule", "ensemble"], "CLIP weight 2.0"),
        (["--granularity", "0.8"], '--granularity 0.8 does nothing in the rule "ensemble"; add --rule'),
        (["--rule", "granularity", "--clip-weight", "0.5"], "--clip-weight 0.5 does nothing in the rule"),
    ],
)
def test_what_users_can_mend_is_one_sentence_and_exit_code_2(ovseg, tmp_path, capsys, arguments, message):
    assert evaluate(ovseg, tmp_path, *arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_benchmarks_use_the_published_settings_of_a_model(ovseg, tmp_path):
    """What a file holds (here a Swin) decides its mask threshold and, for each data set, its λ."""
    published = tmp_path / "ovseg_R101c_vitB16_ft_mpt.pth"  # a wrong name changes nothing
    published.hardlink_to(ovseg)
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    options = {"precision": "float32", "maskformer_options": {"min_size": 64}}
    segmenter = load_segmenter(ovseg=published, benchmark="pascal-voc-20", **options)
    network = build_maskformer(read_checkpoint(published).maskformer())
    expected = MaskFormerProposalGenerator(network, min_size=64, mask_threshold=0.4)(image)
    np.testing.assert_array_equal(segmenter.propose(image).packed_masks, expected.packed_masks)
    usual, stated = (
        segmenter.segment(image, "cat, dog, car", rule=rule).score_map.probabilities
        for rule in (EnsembleRule(), EnsembleRule(clip_weight=0.45))
    )
    np.testing.assert_array_equal(usual, stated)


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    ovseg, small_scenes, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(StickerScenes, "load", lambda *_: pytest.fail("it measures"))
    assert evaluate(ovseg, tmp_path, "--scenes", 2, "--json", tmp_path / "missing" / "figures.json") == 2
    assert "cannot be written (No such file or directory); name another --json" in capsys.readouterr().err


def test_the_counts_stay_where_the_file_cannot_be_written_at_the_end(
    ovseg, small_scenes, tmp_path, monkeypatch, capsys
):
    folder, load = tmp_path / "figures", StickerScenes.load
    folder.mkdir()

    def load_without_folder(self, key):
        if folder.exists():
            folder.rmdir()
        return load(self, key)

    monkeypatch.setattr(StickerScenes, "load", load_without_folder)
    assert evaluate(ovseg, tmp_path, "--scenes", 1, "--json", folder / "figures.json") == 2
    assert len(list((tmp_path / "records").iterdir())) == 1
    monkeypatch.setattr(StickerScenes, "load", lambda *_: pytest.fail("it measures again"))
    assert evaluate(ovseg, tmp_path, "--scenes", 1, "--json", tmp_path / "figures.json") == 0
    assert not list((tmp_path / "records").iterdir())
