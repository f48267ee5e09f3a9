"""The page of results, from figures and from models."""

import shutil
from dataclasses import dataclass

import pytest

from ovseg_demo.evaluation import results
from ovseg_demo.evaluation.goals import GOALS
from ovseg_demo.evaluation.results_page import Page, format_page, read_notes
from ovseg_demo.evaluation.sticker_world import StickerScenes
from ovseg_demo.models.catalogue import CATALOGUE
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam

TITLES = {name: contender.title for name, contender in results.CONTENDERS.items()}


def figures(**values):
    """All figures of a contender; those not named are 50."""
    names = [goal.figure for goal in GOALS if goal.figure != "unmasked loss"]
    names += ["oracle right stuff", "sam-named miou", "maskformer-named miou", "unmasked right"]
    names += ["sam-coverage objects", "sam-coverage masks"]
    return dict.fromkeys(names, 50.0) | {name.replace("_", " "): value for name, value in values.items()}


def page(repeats=(), **contenders):
    return Page(scenes=200, clip_weight=0.6, titles=TITLES, figures=contenders, repeats=repeats)


def row(text, start):
    """The cells of the first table row that starts like that."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_floors_and_aims_are_judged():
    shipped = figures(oracle_miou=85, sam_miou=44.9, maskformer_miou=45, unmasked_right=70)
    text = format_page(page(shipped=shipped, **{"un-adapted": figures(unmasked_right=76)}))
    assert row(text, "mIoU, oracle masks") == ["85.0", "–", "75", "85", "aim reached"]
    assert row(text, "mIoU, SAM proposals") == ["44.9", "–", "45", "60", "**below the floor**"]
    assert row(text, "mIoU, MaskFormer proposals") == ["45.0", "–", "45", "60", "floor reached"]
    assert row(text, "loss of accuracy on unmasked crops by fine-tuning") == [
        "6.0", "–", "≤ 10", "≤ 3", "floor reached",
    ]  # fmt: skip


def test_the_spread_is_that_of_all_sets():
    repeats = [{"shipped": figures(colours=value)} for value in (82, 86)]
    text = format_page(page(repeats, shipped=figures(colours=90)))
    cells = row(text, "accuracy of colours, unseen colour-noun pairs")
    assert cells == ["90.0", "86.0 ± 4.0", "75", "90", "aim reached"]


def test_what_was_not_measured_is_said():
    shipped = figures()
    del shipped["sam miou"]
    text = format_page(page(shipped=shipped))
    assert row(text, "mIoU, SAM proposals") == ["–", "–", "45", "60", "not measured"]
    assert "Not measured, because the weights are missing: CLIP, un-adapted;" in text
    assert row(text, "oracle masks") == ["un-adapted CLIP", "–", "20.1"]


def test_orderings_are_reported_as_gains_even_if_they_do_not_hold():
    contenders = {"un-adapted": figures(oracle_miou=20), "fine-tuned": figures(oracle_miou=61.5, sam_miou=48)}
    text = format_page(page(shipped=figures(oracle_miou=60), **contenders))
    assert row(text, "fine-tuned over un-adapted") == ["+41.5", "-2.0", "+0.0"]
    assert row(text, "mask prompts on top of fine-tuning") == ["-1.5", "+2.0", "+0.0"]
    assert "mask prompts only over un-adapted" not in text


def test_notes_survive_a_new_page(tmp_path):
    path = tmp_path / "results.md"
    assert read_notes(path) == ""
    path.write_text(format_page(page(shipped=figures()), "Trained for long.\n\n## More\n\nEnd."))
    again = format_page(page(shipped=figures(colours=1)), read_notes(path))
    assert again.endswith("## Notes\n\nTrained for long.\n\n## More\n\nEnd.\n")
    assert again.count("## Notes") == 1


@dataclass(frozen=True, eq=False)
class SmallScenes(StickerScenes):
    size: tuple[int, int] = (96, 64)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(results, "StickerScenes", SmallScenes)
    accuracies = iter([80.0, 84.0])
    monkeypatch.setattr(results, "colour_accuracy", lambda *_, **__: next(accuracies))


def test_one_command_measures_models_and_training_runs(small, tmp_path):
    ovseg, sam = save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow"), save_tiny_sam(tmp_path / "sam.pth")
    variant = tmp_path / "runs/finetune-captions/weights.pt"
    variant.parent.mkdir(parents=True)
    variant.hardlink_to(ovseg)
    out = tmp_path / "docs/results.md"
    options = {
        "--ovseg": ovseg, "--sam": sam, "--unadapted": ovseg, "--precision": "float32",
        "--runs": tmp_path / "runs", "--out": out, "--records": tmp_path / "records", "--scenes": 1,
        "--sets": 2,
    }  # fmt: skip
    argv = [str(value) for option in options.items() for value in option]
    assert results.main(argv) == 0
    text = out.read_text()
    for name in ("un-adapted", "captions", "fine-tuned", "shipped"):
        assert all(cell != "–" for cell in row(text, TITLES[name])[4:6]), "both generators"
    missing = text.partition("because the weights are missing: ")[2].partition(".\n")[0]
    assert missing.split("; ") == [TITLES[name] for name in ("control", "prompts", "captions+prompts")]
    assert row(text, "accuracy of colours, unseen colour-noun pairs")[:2] == ["80.0", "82.0 ± 2.8"]
    assert row(text, "pairs from captions over pairs from labels") == ["+0.0"] * 3, "the same weights"
    assert not list((tmp_path / "records").iterdir())


def test_a_model_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert results.main(["--model", "no-such", "--out", str(tmp_path / "results.md")]) == 2
    assert capsys.readouterr().err.startswith('error: There is no model "no-such"')
    assert not (tmp_path / "results.md").exists()


def test_runs_are_compared_with_the_bundled_model_unless_files_are_given(tmp_path):
    (tmp_path / "mask-prompts-only").mkdir()
    bundled = CATALOGUE["sticker-world"].path("ovseg")
    shutil.copy(bundled, tmp_path / "mask-prompts-only" / "weights.pt")
    entries = results.find_contenders({}, tmp_path)
    assert set(entries) == {"un-adapted", "fine-tuned", "shipped", "prompts"}
    assert entries["prompts"].segmenter.generators == entries["shipped"].segmenter.generators
