"""Training Segment Anything: what the shortcuts of training compute is what segment-anything computes."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.data import default_collate

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.building import build_sam
from ovseg_demo.training import sam as sam_step
from ovseg_demo.training.clip_weights import new_clip
from ovseg_demo.training.options import SamOptions
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.sam import SamTask
from ovseg_demo.training.sam_losses import mask_iou, mask_losses
from ovseg_demo.training.sam_samples import at_cells, choose_cells, choose_points, cut_parts, target_masks
from ovseg_demo.training.sam_start import adopt_clip
from tests.tiny.sam import changed

PRESET = find_settings("toy", "sam")
GRID = PRESET.size.grid_size
MASK_SIZE = 4 * GRID


@pytest.fixture
def task():
    torch.manual_seed(0)
    return SamTask(PRESET, seed=0)


@pytest.fixture
def batch(task):
    scenes = task.dataset()
    return default_collate([scenes[0], scenes[1]])


@pytest.fixture
def regions():
    """A small square, a wide band, and padding at the bottom."""
    regions = torch.full((MASK_SIZE, MASK_SIZE), 7)
    regions[4:10, 6:11] = 2
    regions[15:20] = 5
    regions[24:] = -1
    return regions


def original(task):
    """The same weights in segment-anything's own network."""
    return build_sam({name: tensor.detach() for name, tensor in task.sam.state_dict().items()})


@torch.no_grad()
def test_encoding_whole_images_is_segment_anythings(task, batch):
    found = task.encode(batch["image"], torch.zeros(2, 2, dtype=torch.long))
    pixels = (batch["image"].float() - task.sam.pixel_mean) / task.sam.pixel_std
    torch.testing.assert_close(found, original(task).image_encoder(pixels), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_masks_of_some_cells_are_those_of_segment_anything(task):
    network, corner = original(task), torch.zeros(2, dtype=torch.long)
    embedding = torch.randn(PRESET.size.prompt_dim, GRID, GRID)
    points = torch.tensor([[3.0, 5.0], [40.0, 20.0], [63.0, 63.0]])
    cells = torch.tensor([[0, 9, 63], [5, 6, 7], [1, 2, 62]])
    logits, quality = task.decode_cells(embedding, points, corner, cells)
    sparse, dense = network.prompt_encoder((points[:, None], torch.ones(3, 1)), boxes=None, masks=None)
    masks, iou = network.mask_decoder(
        image_embeddings=embedding[None],
        image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    wanted = torch.stack([at_cells(masks[:, number], cells) for number in range(3)], dim=1)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(quality, iou, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_part_keeps_its_place_in_the_image(task):
    """Its first cell's positions are those of the corner, for pixels and for points."""
    corner = torch.tensor([2, 3])
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    here = task.encode(image, corner[None])[0]
    points, cells = torch.tensor([[30.0, 20.0]]), torch.arange(16)[None]
    before = task.decode_cells(here, points, corner, cells)[0]
    grid = task.sam.image_encoder.pos_embed
    moved = grid.roll((-2, -3), dims=(1, 2))
    grid.copy_(moved)
    there = task.encode(image, torch.zeros(1, 2, dtype=torch.long))[0]
    torch.testing.assert_close(here, there)
    after = task.decode_cells(here, points, torch.zeros(2, dtype=torch.long), cells)[0]
    assert not torch.allclose(before, after)


def test_parts_are_pieces_of_the_image_without_its_padding(regions):
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    images = torch.stack([rows, columns, rows])[None].to(torch.uint8)
    torch.manual_seed(0)
    parts, labels, corners = cut_parts(images, regions[None], parts=40, side=4)
    assert parts.shape == (40, 3, 32, 32) and labels.shape == (40, 16, 16)
    assert (parts[:, :2, 0, 0] == 8 * corners).all()
    for part, (row, column) in zip(labels, corners, strict=True):
        assert torch.equal(part, regions[4 * row : 4 * row + 16, 4 * column : 4 * column + 16])
    assert set(corners[:, 0].tolist()) == {0, 1, 2} and set(corners[:, 1].tolist()) == {0, 1, 2, 3, 4}
    assert (labels >= 0).all()


def test_points_lie_in_their_regions_and_small_regions_get_as_many(regions):
    points, targets = choose_points(regions, 3000, torch.Generator().manual_seed(0))
    x, y = points.long().unbind(1)
    assert torch.equal(regions[y, x], targets)
    shares = [(targets == region).float().mean().item() for region in (2, 5, 7)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)


def test_tiny_regions_are_asked_for_only_if_there_is_nothing_else():
    regions = torch.zeros(8, 8, dtype=torch.long)
    regions[0, 0] = 1
    assert (choose_points(regions, 200)[1] == 0).all()
    regions[:] = -1
    regions[3, 4] = 1
    assert (choose_points(regions, 5)[1] == 1).all()


def test_cells_stand_for_the_whole_grid_and_prefer_the_object(regions):
    masks, valid = target_masks(regions, torch.tensor([2, 5, 7]))
    assert torch.equal(valid, regions >= 0)
    cells, weights = choose_cells(masks, 32)
    assert cells.shape == weights.shape == (3, 32)
    assert (cells.diff(dim=1) > 0).all()
    assert weights.sum(dim=1).tolist() == pytest.approx([GRID**2] * 3)
    # The square touches 2 × 2 cells, which with their neighbours are 4 × 4 (less at the edge): all are there.
    assert at_cells(masks, cells)[0].sum() == masks[0].sum()
    assert weights[0].min() == 1


def test_figures_on_cells_are_those_of_the_whole_mask_on_average(regions):
    torch.manual_seed(0)
    masks, valid = target_masks(regions, torch.tensor([2, 5]))
    logits = torch.where(masks.roll(2, dims=2), 3.0, -3.0)[:, None] + 0.1 * torch.randn(2, 3, 32, 32)
    every = torch.arange(GRID**2).expand(2, -1)

    def on(cells, weights):
        weights = at_cells(valid.expand_as(masks), cells) * weights.repeat_interleave(16, dim=1)
        some = torch.stack([at_cells(logits[:, number], cells) for number in range(3)], dim=1)
        losses = mask_losses(some, torch.zeros(2, 3), at_cells(masks, cells), weights)
        return torch.stack([losses["mask"], losses["iou"]])

    wanted = on(every, torch.ones(2, GRID**2))
    found = torch.stack([on(*choose_cells(masks, 24)) for _ in range(100)]).mean(dim=0)
    torch.testing.assert_close(found, wanted, rtol=0.03, atol=0)
    iou = mask_iou(logits.flatten(2), masks.flatten(1), valid.flatten().float())
    # The square is five pixels wide: moved by two, 3 of 7 columns are common.
    assert iou[0].tolist() == pytest.approx([3 / 7] * 3)


def test_a_perfect_mask_costs_next_to_nothing_and_its_quality_is_one(regions):
    masks, valid = target_masks(regions, torch.tensor([2, 5, 7]))
    logits = torch.where(masks, 30.0, -30.0)[:, None].expand(-1, 3, -1, -1).flatten(2)
    weights = valid.flatten().expand(3, -1).float()
    losses = mask_losses(logits, torch.ones(3, 3), masks.flatten(1), weights)
    assert losses["mask"] < 0.01 and losses["quality"] == 0 and losses["iou"] == 1


def test_the_encoder_can_start_from_a_clip_of_its_size(task):
    clip = new_clip(find_settings("toy", "clip").size)
    adopt_clip(task.sam.image_encoder, clip)
    for block, source in zip(task.sam.image_encoder.blocks, clip.visual.transformer.resblocks, strict=True):
        assert torch.equal(block.attn.qkv.weight, source.attn.in_proj_weight)
        assert torch.equal(block.mlp.lin2.bias, source.mlp.c_proj.bias)
        assert torch.equal(block.norm1.weight, source.ln_1.weight)
    with pytest.raises(CheckpointError, match=r"2 layers of 64 channels .*; give --clip the CLIP of the"):
        adopt_clip(task.sam.image_encoder, new_clip(find_settings("sticker-world", "clip").size))


def test_all_that_is_used_learns(task, batch):
    for task.whole in (False, True):
        task.zero_grad()
        loss, figures = task(batch)
        loss.backward()
        assert set(figures) == {"mask", "quality", "iou", "pairs"}
        still = {name for name, value in task.sam.named_parameters() if not value.grad.abs().sum()}
        prompts = {name for name in still if name.startswith("prompt_encoder.")}
        unused = {name for name in still - prompts if "rel_pos" not in name and "mlps.0." not in name}
        assert not unused


def test_training_writes_a_segment_anything_of_the_published_format(tmp_path):
    options = SamOptions(preset="toy", out=tmp_path, device="cpu", precision="float32")
    weights = sam_step.train(options)
    log = [json.loads(line) for line in (tmp_path / "sam" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["evaluation"].keys() >= {"best_of_three_iou", "recall_50", "stability"}
    tensors = read_checkpoint(weights, CheckpointKind.SAM).sam()
    assert build_sam({name: value.float() for name, value in tensors.items()}).image_encoder.img_size == 64
    again = SamTask(PRESET, seed=1)
    again.load_weights(weights)
    trained = torch.load(tmp_path / "sam" / "checkpoint.pt", weights_only=True)["task"]
    for name, tensor in again.sam.state_dict().items():  # sharpened in the file, and blunt again
        if "output_hypernetworks_mlps" in name:
            assert torch.allclose(tensor, trained[f"sam.{name}"], rtol=2e-3, atol=1e-4), name
    with pytest.raises(CheckpointError, match="do not make up the Segment Anything of this preset"):
        SamTask(replace(PRESET, size=changed(PRESET.size, prompt_dim=64)), seed=1).load_weights(weights)
    larger = SamTask(replace(PRESET, size=changed(PRESET.size, image_size=96)), seed=1)
    larger.load_weights(weights)
    assert larger.sam.image_encoder.pos_embed.shape == (1, 12, 12, 64)


def test_a_run_that_began_from_other_weights_is_refused_in_its_folder(tmp_path):
    options = SamOptions(preset="toy", out=tmp_path, device="cpu", precision="float32", steps=1)
    weights = sam_step.train(options)
    with pytest.raises(CheckpointError, match="--init was not given, is sha256:"):
        sam_step.train(replace(options, init=weights))
