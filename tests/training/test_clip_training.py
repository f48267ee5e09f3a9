import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.towers import encode_regions
from ovseg_demo.errors import CheckpointError, DatasetError, ModelError
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.sticker_world import CLASS_NAMES, COLOURS, NOUNS
from ovseg_demo.training import clip_finetuning, clip_pretraining, label_pairs, mask_prompts
from ovseg_demo.training.clip_weights import grid_positions, load_clip
from ovseg_demo.training.crops import CaptionedCrops
from ovseg_demo.training.files import CHECKPOINT_FILE
from ovseg_demo.training.options import ClipOptions, FinetuneOptions, LabelPairsOptions, MaskPromptOptions
from ovseg_demo.training.pairs_format import PAIRS_FILE
from ovseg_demo.training.presets import PRESETS, find_settings

ROOT = Path(__file__).parents[2]
MASK_EMBEDDING = "visual.mask_embedding"
TOY = {"preset": "toy", "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def clip_file(runs) -> Path:
    return clip_pretraining.train(ClipOptions(**TOY, out=runs))


@pytest.fixture(scope="module")
def pairs(runs) -> Path:
    return label_pairs.train(LabelPairsOptions(**TOY, out=runs))


@pytest.fixture(scope="module")
def finetuned_file(runs, clip_file, pairs) -> Path:
    return clip_finetuning.train(FinetuneOptions(**TOY, out=runs, pairs=pairs))


def read(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).clip()


def losses(weights: Path) -> list[float]:
    lines = (weights.parent / "log.jsonl").read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def changed(before: Path, after: Path) -> set[str]:
    old, new = read(before), read(after)
    return {name for name in new if name not in old or not torch.equal(old[name], new[name])}


def test_pre_training_learns(clip_file):
    first, *_, last = losses(clip_file)
    assert last < first


def test_the_file_is_a_classifier(clip_file):
    clip = MaskAdaptedClip.from_tensors(read(clip_file), runtime=Runtime.resolve("cpu", "float32"))
    embeddings = clip.embed_names(["cat", "a word that no caption had"], "vild")
    assert not clip.has_mask_prompts
    assert clip.input_size == find_settings("toy", "clip").size.image_size
    assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)


def test_training_can_start_from_a_published_file(clip_file, tmp_path):
    again = clip_pretraining.train(ClipOptions(**TOY, out=tmp_path, init=clip_file, steps=1))
    before, after = read(clip_file), read(again)
    drift = max(
        (after[name].float() - before[name].float()).abs().max() for name in before if before[name].ndim
    )
    assert 0 < drift < 2 * find_settings("toy", "clip").learning_rate


def test_weights_of_another_size_are_refused(clip_file, tmp_path):
    options = ClipOptions(**{**TOY, "preset": "sticker-world"}, out=tmp_path, init=clip_file, steps=1)
    with pytest.raises(CheckpointError, match="do not make up the CLIP of the preset sticker-world"):
        clip_pretraining.train(options)


def test_fine_tuning_leaves_the_text_tower(clip_file, finetuned_file):
    names = changed(clip_file, finetuned_file)
    assert names
    assert all(name.startswith("visual.") for name in names)


def test_the_file_holds_the_mean_of_the_weights_before_and_after(clip_file, finetuned_file):
    share = find_settings("toy", "finetuning").kept_share
    before, mean = read(clip_file), read(finetuned_file)
    after = torch.load(finetuned_file.parent / CHECKPOINT_FILE, weights_only=True)["task"]
    names = [name for name in mean if name.startswith("visual.")]
    assert 0 < share < 1 and names
    for name in names:
        expected = share * before[name].float() + (1 - share) * after[f"clip.{name}"]
        torch.testing.assert_close(mean[name].float(), expected, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(mean["visual.proj"].float(), after["clip.visual.proj"], atol=1e-5)


@pytest.mark.parametrize(
    ("stage", "options"), [(clip_finetuning, FinetuneOptions), (mask_prompts, MaskPromptOptions)]
)
def test_the_published_loss_can_be_asked_for(stage, options, clip_file, pairs, tmp_path, monkeypatch):
    toy = PRESETS["toy"]
    among_all_nouns = replace(
        toy,
        finetuning=replace(toy.finetuning, among_all_nouns=True),
        mask_prompts=replace(toy.mask_prompts, among_all_nouns=True),
    )
    monkeypatch.setitem(PRESETS, "all-nouns", among_all_nouns)
    given = options(**TOY, init=clip_file, pairs=pairs, steps=2)
    published, other, asked = (
        losses(stage.train(replace(given, out=tmp_path / name, **changes)))
        for name, changes in {
            "published": {},
            "other": {"preset": "all-nouns"},
            "asked": {"preset": "all-nouns", "contrastive": True},
        }.items()
    )
    assert published == asked != other


@pytest.mark.parametrize(
    ("stage", "options"), [(clip_finetuning, FinetuneOptions), (mask_prompts, MaskPromptOptions)]
)
def test_a_run_goes_on_only_from_what_it_began_with(stage, options, clip_file, pairs, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "twin", PRESETS["toy"])
    begun = options(**TOY, out=tmp_path / "runs", init=clip_file, pairs=pairs, steps=1)
    weights = stage.train(begun)
    before = weights.read_bytes()
    other = torch.load(clip_file, weights_only=True)
    other["state_dict"]["module.logit_scale"] += 1
    torch.save(other, tmp_path / "other.pt")
    fewer = shutil.copytree(pairs, tmp_path / "fewer")
    lines = (fewer / PAIRS_FILE).read_text().splitlines(keepends=True)
    (fewer / PAIRS_FILE).write_text("".join(lines[:-1]))
    changes = {"init": tmp_path / "other.pt", "pairs": fewer, "preset": "twin", "contrastive": True}
    for name, value in changes.items():
        with pytest.raises(CheckpointError, match=rf"other options \(--{name} was [^;]*\); give the same"):
            stage.train(replace(begun, **{name: value}, steps=2))
    assert weights.read_bytes() == before
    copies = {
        "init": Path(shutil.copy(clip_file, tmp_path / "copy.pt")),
        "pairs": shutil.copytree(pairs, tmp_path / "copy"),
    }
    stage.train(replace(begun, **copies, steps=2))
    assert weights.read_bytes() != before


def test_only_mask_prompts_change(runs, finetuned_file, pairs):
    prompted = mask_prompts.train(MaskPromptOptions(**TOY, out=runs, pairs=pairs))
    assert changed(finetuned_file, prompted) == {MASK_EMBEDDING}
    assert read(prompted)[MASK_EMBEDDING].abs().max() > 0
    clip = MaskAdaptedClip.from_tensors(read(prompted), runtime=Runtime.resolve("cpu", "float32"))
    assert clip.has_mask_prompts


def test_prompts_can_stand_in_another_number_of_layers(runs, finetuned_file, pairs):
    options = MaskPromptOptions(**TOY, out=runs, pairs=pairs, depth=1, name="one-layer")
    one = mask_prompts.train(options)
    assert len(read(one)[MASK_EMBEDDING]) == 1 != find_settings("toy", "mask_prompts").depth
    with pytest.raises(ModelError, match="--depth is 3; this image tower has 1 to 2 layers"):
        mask_prompts.train(replace(options, depth=3, name="deeper"))


def test_new_prompts_start_as_what_they_replace(clip_file):
    """Those made from one region change nothing in it."""
    model, _ = load_clip(clip_file)
    side = model.visual.image_size[0]
    mask = torch.zeros(1, 1, side, side)
    mask[..., : side // 2, 3:] = 1
    region = mask * torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    prompts = mask_prompts.mean_blank_tokens(model, 2, region, mask)
    with torch.no_grad():
        plain, prompted = (encode_regions(model, given, region, mask) for given in (None, prompts))
        zeroed = encode_regions(model, 0 * prompts, region, mask)
    assert torch.allclose(plain, prompted, atol=1e-5)
    assert not torch.allclose(plain, zeroed, atol=1e-5)


def test_the_unmasked_control_never_sees_a_mask(clip_file, pairs):
    """Blanking the masked regions on disk changes nothing."""
    settings = find_settings("toy", "finetuning")
    task = clip_finetuning.FinetuningTask(settings, clip_file, pairs, seed=0, unmasked_share=1.0)
    batch = task.collate([task.dataset()[i] for i in range(4)])
    loss, _ = task(batch)
    blind, _ = task(batch | {"masked": torch.zeros_like(batch["masked"])})
    mixed, _ = clip_finetuning.FinetuningTask(settings, clip_file, pairs, seed=0, unmasked_share=0.5)(batch)
    assert loss.item() == blind.item() != mixed.item()


def test_two_processes_train_what_one_does(clip_file, pairs, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    mask_prompts.train(MaskPromptOptions(**TOY, pairs=pairs, init=clip_file, out=one, steps=3))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        "-m",
        "ovseg_demo",
    ]
    command += ["train", "mask-prompts", "--preset=toy", "--device=cpu", "--precision=float32", "--steps=3"]
    command += [f"--pairs={pairs}", f"--init={clip_file}", f"--out={two}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=240)  # pytest shows its errors
    prompts = [read(out / "mask-prompts" / "weights.pt")[MASK_EMBEDDING].float() for out in (one, two)]
    assert prompts[0].abs().max() > 0.01
    assert torch.allclose(*prompts, atol=2e-3)


def test_missing_parts_are_named(clip_file, tmp_path):
    with pytest.raises(CheckpointError, match=r"weights\.pt"):
        clip_finetuning.train(FinetuneOptions(**TOY, out=tmp_path))
    with pytest.raises(DatasetError, match="train pairs"):
        clip_finetuning.train(FinetuneOptions(**TOY, out=tmp_path, init=clip_file))
    with pytest.raises(ModelError, match="published weights"):
        clip_pretraining.train(ClipOptions(**{**TOY, "preset": "coco"}, out=tmp_path))


def test_images_kept_on_disk_are_those_drawn(tmp_path):
    first, again = (CaptionedCrops(tmp_path / "a.bin", 6, 32, seed=1) for _ in range(2))
    other = CaptionedCrops(tmp_path / "b.bin", 6, 32, seed=1)
    order = [11, 3, 0, 7]  # of the second pass, then of the first
    drawn, kept, elsewhere = ([crops[i] for i in order] for crops in (first, again, other))
    for samples in zip(drawn, kept, elsewhere, strict=True):
        assert len({sample.image.tobytes() for sample in samples}) == 1
        assert len({sample.caption for sample in samples}) == 1


def test_captions_match_their_labels(tmp_path):
    crops = CaptionedCrops(tmp_path / "a.bin", 60, 32, seed=0)
    for sample in (crops[i] for i in range(60)):
        if sample.said_colour >= 0:
            assert sample.said_colour == sample.colour
            assert COLOURS[sample.colour] in sample.caption
        if 0 <= sample.label < len(NOUNS):
            assert any(name in sample.caption for name in NOUNS[sample.label].names)
        assert sample.label < len(CLASS_NAMES)
        assert sample.image.shape == (32, 32, 3)


def test_positions_of_any_two_patches_differ():
    positions = grid_positions(4, 64)
    assert positions.shape == (16, 64)
    assert torch.cdist(positions, positions).add(torch.eye(16)).min() > 0.1
