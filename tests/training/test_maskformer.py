import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.sticker_world import render_scene
from ovseg_demo.training import maskformer
from ovseg_demo.training.maskformer import MaskFormerTask
from ovseg_demo.training.maskformer_data import LabelledScenes
from ovseg_demo.training.maskformer_validation import best_ious, draw_own_names, mask_figures
from ovseg_demo.training.options import MaskFormerOptions
from ovseg_demo.training.presets import find_settings
from ovseg_demo.vocabulary import ClassName, Vocabulary
from tests.tiny.clip import tiny_clip_tensors
from tests.tiny.maskformer import tiny_maskformer
from tests.training.coco_folder import make_coco_folder

PRESET = find_settings("toy", "maskformer")


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save({"state_dict": {f"module.{k}": v.half() for k, v in tiny_clip_tensors().items()}}, path)
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory, clip_file) -> MaskFormerOptions:
    out = tmp_path_factory.mktemp("runs")
    return MaskFormerOptions(preset="toy", out=out, clip=clip_file, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def weights(options) -> Path:
    return maskformer.train(options)


def log(weights: Path) -> list[dict]:
    return [json.loads(line) for line in (weights.parent / "log.jsonl").read_text().splitlines()]


def test_the_weights_are_a_published_ovseg_checkpoint_in_half_precision(weights, clip_file):
    checkpoint = read_checkpoint(weights, CheckpointKind.OVSEG)
    assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {torch.float16}
    clip = read_checkpoint(clip_file).clip()
    assert {name: tensor.shape for name, tensor in checkpoint.clip().items()} == {
        name: tensor.shape for name, tensor in clip.items()
    }
    assert all(torch.equal(tensor, clip[name]) for name, tensor in checkpoint.clip().items())
    generator = MaskFormerProposalGenerator(build_maskformer(checkpoint.maskformer()), min_size=96)
    assert generator(render_scene(0, size=(128, 96)).image).queries.class_embeddings.shape == (12, 32)


def test_the_log_has_every_loss_and_the_figures(weights):
    *_, losses, evaluation = log(weights)
    assert {"loss", "class", "focal", "dice", "pixels", "pairs"} <= set(losses)
    figures = evaluation["evaluation"]
    assert {"miou", "base_recall_50", "base_recall_75", "base_mask_iou"} <= set(figures)
    assert all(0 <= value <= 100 for value in figures.values())


def test_training_goes_on_from_published_weights_and_their_clip(options, weights, tmp_path):
    again = replace(options, out=tmp_path, clip=None, init=weights, steps=1)
    old = read_checkpoint(weights)
    new = read_checkpoint(maskformer.train(again))
    drift = max(
        (new.maskformer()[name].float() - tensor.float()).abs().max()
        for name, tensor in old.maskformer().items()
        if not name.endswith(("running_mean", "running_var"))
    )
    assert 0 < drift <= 2 * PRESET.learning_rate
    assert all(torch.equal(tensor, new.clip()[name]) for name, tensor in old.clip().items())


def test_coco_stuff_is_trained_on_in_its_folders(options, tmp_path):
    make_coco_folder(tmp_path)
    make_coco_folder(tmp_path, part="val2017")
    found = log(maskformer.train(replace(options, root=tmp_path, out=tmp_path / "runs", steps=2)))
    assert "miou" in found[-1]["evaluation"] and "novel_recall_50" not in found[-1]["evaluation"]


def test_without_a_clip_the_message_names_the_file(options, tmp_path):
    with pytest.raises(CheckpointError, match=r"clip.weights\.pt"):
        maskformer.train(replace(options, clip=None, out=tmp_path))


def test_a_few_steps_on_one_batch_bring_the_losses_down(clip_file):
    torch.manual_seed(0)
    task = MaskFormerTask(PRESET, LabelledScenes(), read_checkpoint(clip_file), seed=0)
    dataset = task.dataset()
    batch = task.collate([dataset[0], dataset[1]])
    groups = task.parameter_groups()
    optimizer = torch.optim.AdamW(groups, lr=3e-3)
    history = []
    task.train()
    for _ in range(30):
        loss, figures = task(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({name: value.item() for name, value in figures.items()})
    assert all(parameter.grad is not None for parameter in task.parameters())
    first, last = history[0], history[-1]
    assert sum(last.values()) < 0.6 * sum(first.values())
    assert all(last[name] < 0.9 * first[name] for name in ("class", "focal", "pixels", "pairs"))


def test_similarities_are_scaled_up_on_the_way(clip_file):
    task = MaskFormerTask(PRESET, LabelledScenes(), read_checkpoint(clip_file), seed=0)
    scales = []
    for progress in (0.0, 0.35, 0.7, 1.0):
        task.before_step(progress)
        scales.append(task.logit_scale)
    assert scales == [20, 60, 100, 100]


@pytest.fixture(scope="module")
def proposals():
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    return MaskFormerProposalGenerator(tiny_maskformer("resnet"), min_size=64)(image)


def test_best_ious_are_those_of_the_masks(proposals):
    labels = np.where(proposals.masks[0], 3, 250)
    labels[:2] = -1
    found = best_ious(proposals, labels)
    assert set(found) <= {3, 250}
    for label, iou in found.items():
        region = labels == label
        ious = [(mask & region).sum() / (mask | region).sum() for mask in proposals.masks]
        assert iou == pytest.approx(max(ious), abs=1e-6)


def test_a_map_drawn_with_its_own_names_scores_a_full_miou(proposals):
    text = np.eye(32, dtype=np.float32)[:4]
    vocabulary = Vocabulary(tuple(ClassName(name, ()) for name in "abcd"))
    drawn = draw_own_names(proposals, text, vocabulary)
    generator = MaskFormerProposalGenerator(
        tiny_maskformer("resnet"), min_size=64, runtime=Runtime.resolve("cpu", "float32")
    )
    image = proposals.working_image
    assert mask_figures(generator, [(image, drawn)], "abcd", text)["miou"] == 100
    novel = np.where(drawn == drawn.max(), 9, drawn)
    assert "novel_mask_iou" in mask_figures(generator, [(image, novel)], "abcd", text)
