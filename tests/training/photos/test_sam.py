"""Training of Segment Anything with a convolutional encoder, at toy size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.building import PIXEL_MEAN, PIXEL_STD, SamConfig
from ovseg_demo.proposals.sam.encoders.timm_cnn import TimmCnnConfig
from ovseg_demo.proposals.sam.generator import SamProposalGenerator, build_sam
from ovseg_demo.proposals.trunks import fold_batch_norms
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.photos.mask_samples import MaskSamples
from ovseg_demo.training.photos.sam import PhotoSamSettings, start_sam, train
from ovseg_demo.training.photos.shared_attention import two_way
from ovseg_demo.training.photos.trunks import TRUNK_MEAN, TRUNK_STD, expect_pixels, load_classifier
from ovseg_demo.training.schedule import LoopSettings

SIZE = SamConfig(
    encoder=TimmCnnConfig("tf_efficientnet_lite0", 128),
    prompt_dim=128,
    decoder_depth=1,
    decoder_downsampling=1,
    decoder_mlp_dim=32,
    iou_head_dim=32,
)
TOY = PhotoSamSettings(
    size=SIZE,
    loop=LoopSettings(steps=2, batch_size=2, warmup_steps=1, log_every=1),
    side=96,
    prompts=3,
    cells=9,
    validation_samples=2,
)


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet weights as their package has them: in timm's order, under other names."""
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0")
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    path = tmp_path_factory.mktemp("trunk") / "lite0.pth"
    tensors = model.state_dict().values()
    torch.save({f"_{number}": tensor for number, tensor in enumerate(tensors)}, path)
    return path


def test_training_writes_weights_that_propose_masks(photographs: Path, trunk: Path, tmp_path: Path) -> None:
    runtime = Runtime(torch.device("cpu"))
    path = train(TOY, photographs, trunk, tmp_path, runtime)
    sam = build_sam(read_checkpoint(path, CheckpointKind.SAM).sam())
    assert sam.image_encoder.frame.image_size == 128
    generator = SamProposalGenerator(sam, points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert len(generator(image))


def test_an_interrupted_training_goes_on(photographs: Path, trunk: Path, tmp_path: Path) -> None:
    runtime = Runtime(torch.device("cpu"))
    short = replace(TOY, loop=replace(TOY.loop, steps=1))
    train(short, photographs, trunk, tmp_path, runtime)
    before = (tmp_path / "log.jsonl").read_text().splitlines()
    train(TOY, photographs, trunk, tmp_path, runtime)
    after = (tmp_path / "log.jsonl").read_text().splitlines()
    assert after[: len(before)] == before and '"step": 2' in after[-1]


def test_a_training_goes_on_with_the_same_photographs_and_stamps_only(
    photographs: Path, trunk: Path, tmp_path: Path
) -> None:
    runtime = Runtime(torch.device("cpu"))
    train(TOY, photographs, trunk, tmp_path / "out", runtime)
    with pytest.raises(CheckpointError, match=r"--stamps was not given, is .*; give the same ones or --out"):
        train(TOY, photographs, trunk, tmp_path / "out", runtime, stamps=tmp_path)
    other = tmp_path / "photographs"
    with pytest.raises(CheckpointError, match=f"--root was {photographs}, is {other}"):
        train(TOY, other, trunk, tmp_path / "out", runtime)


def test_samples_depend_on_their_index_alone(photographs: Path) -> None:
    first, second = (
        MaskSamples(photographs, side=96, grid=8, prompts=4, seed=1, split="train")[5] for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_point_lies_on_the_mask_that_it_asks_for(photographs: Path) -> None:
    samples = MaskSamples(photographs, side=96, grid=8, prompts=4)
    for index in range(12):
        sample = samples[index]
        for mask, (x, y) in zip(sample["masks"], sample["points"].int().tolist(), strict=True):
            assert mask[y, x]
        assert not (sample["masks"] & ~sample["valid"]).any()


def test_shared_attention_is_segment_anythings_transformer() -> None:
    torch.manual_seed(0)
    transformer = start_sam(SIZE).mask_decoder.transformer
    images, positions, tokens = torch.randn(2, 12, 128), torch.randn(2, 12, 128), torch.randn(2, 3, 7, 128)
    found = two_way(transformer, tokens, images, positions)
    grids = (x.mT.unflatten(2, (3, 4)).repeat_interleave(3, dim=0) for x in (images, positions))
    expected = transformer(*grids, tokens.flatten(0, 1))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_tokens_of_a_new_network_read_what_is_at_their_point() -> None:
    torch.manual_seed(0)
    size = replace(SIZE, encoder=TimmCnnConfig("tf_efficientnet_lite0", 512))
    sam = start_sam(size)
    points = torch.tensor([[[104.0, 88.0]], [[408.0, 296.0]]])  # in the cells (5, 6) and (18, 25)
    prompts, _ = sam.prompt_encoder((points, torch.ones(2, 1)), boxes=None, masks=None)
    own = torch.cat([sam.mask_decoder.iou_token.weight, sam.mask_decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(2, -1, -1), prompts], dim=1)[None]
    positions = sam.prompt_encoder.get_dense_pe().flatten(2).mT
    image = (torch.randn(1, 32 * 32, 128) * sam.image_encoder.neck.out_norm.weight).requires_grad_()
    probe = torch.randn(128)
    found, _ = two_way(sam.mask_decoder.transformer, tokens, image, positions)
    for token, (row, column) in zip(found[:, 1], ((5, 6), (18, 25)), strict=True):
        (gradient,) = torch.autograd.grad(token @ probe, image, retain_graph=True)
        influence = gradient[0].norm(dim=1).view(32, 32)
        near = influence[row - 2 : row + 3, column - 2 : column + 3]
        assert influence.max() == near.max()
        assert near.mean() > 10 * influence.median()


def test_stamps_are_pasted_if_there_are_any(photographs: Path, tmp_path: Path) -> None:
    stamp = np.zeros((60, 80, 4), np.uint8)
    stamp[5:55, 5:75] = (20, 200, 40, 255)
    cv2.imwrite(str(tmp_path / "frog.png"), stamp)
    (tmp_path / "frog.txt").write_text("A frog.")
    samples = MaskSamples(photographs, side=96, grid=8, prompts=4, stamps=tmp_path)
    without = MaskSamples(photographs, side=96, grid=8, prompts=4)
    pairs = [(samples[index], without[index]) for index in range(40)]
    assert any(not torch.equal(one["image"], other["image"]) for one, other in pairs)


def test_folded_batch_norms_change_nothing(trunk: Path) -> None:
    model = load_classifier("tf_efficientnet_lite0", trunk).eval()
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = model(pixels)
        fold_batch_norms(model)
        after = model(pixels)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-3)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())


def test_other_pixel_means_are_folded_into_the_first_convolution(trunk: Path) -> None:
    image = torch.randint(0, 256, (1, 3, 64, 64)).float()
    first, second = (
        (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        for mean, std in ((TRUNK_MEAN, TRUNK_STD), (PIXEL_MEAN, PIXEL_STD))
    )
    model = load_classifier("tf_efficientnet_lite0", trunk).eval()
    with torch.inference_mode():
        before = model.bn1(model.conv_stem(first))
        expect_pixels(model, PIXEL_MEAN, PIXEL_STD)
        after = model.bn1(model.conv_stem(second))
    torch.testing.assert_close(after[..., :-1, :-1], before[..., :-1, :-1], atol=1e-4, rtol=1e-3)
