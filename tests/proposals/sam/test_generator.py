"""The fast SAM generator against segment-anything's own, on small random networks."""

import cv2
import numpy as np
import pytest
import torch

from ovseg_demo.errors import Cancelled, ImageError, ModelError
from ovseg_demo.progress import PROPOSING
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from tests.tiny.sam import TINY_SAM_THRESHOLDS, changed, tiny_sam

LENIENT = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.6}
EVERYTHING = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    """More would wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random colours, uint8 (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def propose(sam, image, implementation, **settings) -> Proposals:
    settings = {**TINY_SAM_THRESHOLDS, **settings}
    return SamProposalGenerator(sam, implementation=implementation, **settings)(image)


def assert_same(ours: Proposals, stock: Proposals) -> None:
    assert len(ours) == len(stock)
    assert ours.packed_masks.shape == stock.packed_masks.shape
    np.testing.assert_allclose(ours.scores, stock.scores, atol=1e-5)
    for mask, expected in zip(ours.masks, stock.masks, strict=True):
        # IoU of at least 0.9999; in masks too small for that, one pixel may lie at the threshold.
        assert (mask ^ expected).sum() <= max(1, 1e-4 * (mask | expected).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "size",
    [
        pytest.param((64, 64), id="the network's own size"),
        pytest.param((48, 64), id="nothing resized, padded below"),
        pytest.param((70, 100), id="wider than the network's input"),
        pytest.param((200, 150), id="taller than the network's input"),
        pytest.param((20, 33), id="smaller than the network's input"),
        pytest.param((5, 150), id="a strip"),
    ],
)
def test_same_masks_as_the_stock_generator(size, seed):
    sam = tiny_sam(seed=seed)
    image = random_image(*size, seed=seed)
    stock = propose(sam, image, "stock", **LENIENT)
    assert len(stock) > 1
    assert_same(propose(sam, image, "fast", **LENIENT), stock)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"global_attention": (0, 1, 2), "window_size": 0}, id="global attention only"),
        pytest.param({"global_attention": (), "window_size": 4}, id="windows that divide the grid"),
        pytest.param({"window_size": 11}, id="a window larger than the grid"),
        pytest.param({"image_size": 60, "patch_size": 6}, id="logits no whole number of pixels apart"),
        pytest.param({"image_size": 128, "patch_size": 16}, id="published patch size"),
        pytest.param({"decoder_depth": 1}, id="one decoder layer"),
        pytest.param({"decoder_depth": 3, "decoder_downsampling": 1}, id="three wide decoder layers"),
        pytest.param({"multimask_outputs": 2, "iou_head_depth": 2}, id="two masks a point"),
        pytest.param({"qkv_bias": False, "prompt_dim": 48}, id="no biases, another width"),
    ],
)
def test_same_masks_with_networks_of_other_sizes(changes):
    sam = tiny_sam(changed(**changes), seed=1)
    image = random_image(90, 70)
    stock = propose(sam, image, "stock", **LENIENT)
    assert len(stock) > 1
    assert_same(propose(sam, image, "fast", **LENIENT), stock)


@pytest.mark.parametrize("box_nms_thresh", [0.7, 0.97, 0.99])
def test_same_masks_survive_box_nms(box_nms_thresh):
    sam = tiny_sam(seed=1)
    image = random_image(70, 100)
    everything = propose(sam, image, "stock")
    stock = propose(sam, image, "stock", box_nms_thresh=box_nms_thresh)
    assert 1 <= len(stock) < len(everything)
    assert_same(propose(sam, image, "fast", box_nms_thresh=box_nms_thresh), stock)


def test_thresholds_of_zero_filter_nothing():
    sam = tiny_sam()
    image = random_image(48, 64)
    stock = propose(sam, image, "stock", **EVERYTHING)
    assert len(stock) == 3 * TINY_SAM_THRESHOLDS["points_per_side"] ** 2
    assert_same(propose(sam, image, "fast", **EVERYTHING), stock)


@pytest.mark.parametrize("implementation", ["fast", "stock"])
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"pred_iou_thresh": 10.0}, id="none of enough predicted IoU"),
        pytest.param({"stability_score_thresh": 1.1}, id="none stable"),
    ],
)
def test_no_mask_at_all_is_an_empty_result(implementation, settings):
    proposals = propose(tiny_sam(), random_image(30, 44), implementation, **settings)
    assert len(proposals) == 0
    assert proposals.masks.shape == (0, 30, 44)
    assert proposals.boxes.shape == (0, 4)
    assert proposals.scores.shape == (0,)


def test_a_uniform_grey_image_of_one_pixel():
    sam = tiny_sam(seed=2)
    image = np.full((1, 1, 3), 128, dtype=np.uint8)
    assert_same(propose(sam, image, "fast"), propose(sam, image, "stock"))


def test_an_image_too_thin_for_the_stock_generator():
    image = random_image(1, 300)
    assert propose(tiny_sam(), image, "fast", **EVERYTHING).working_size == (1, 300)
    with pytest.raises(ImageError, match=r"300 × 1.*fast"):
        propose(tiny_sam(), image, "stock")


def test_masks_do_not_depend_on_the_batch():
    sam = tiny_sam()
    image = random_image(70, 100)
    one_by_one = propose(sam, image, "fast", points_per_batch=1)
    assert_same(propose(sam, image, "fast", points_per_batch=7), one_by_one)
    assert_same(propose(sam, image, "fast", points_per_batch=1000), one_by_one)


def test_proposals_describe_the_masks():
    image = random_image(70, 100)
    proposals = propose(tiny_sam(), image, "fast")
    assert proposals.generator == "sam"
    assert proposals.image_size == (70, 100)
    assert proposals.queries is None
    np.testing.assert_array_equal(proposals.working_image, image)
    expected = Proposals.from_masks(proposals.masks, proposals.scores, image, (70, 100), "sam")
    np.testing.assert_array_equal(proposals.packed_masks, expected.packed_masks)
    np.testing.assert_array_equal(proposals.boxes, expected.boxes)
    assert proposals.boxes.dtype == np.int32
    assert proposals.scores.dtype == np.float32
    assert (np.diff(proposals.scores) <= 0).all()


@pytest.mark.parametrize("implementation", ["fast", "stock"])
def test_masks_have_the_working_size(implementation):
    image = random_image(50, 75)
    proposals = propose(tiny_sam(), image, implementation, long_side=40)
    assert proposals.image_size == (50, 75)
    assert proposals.working_size == (26, 40)
    assert_same(proposals, propose(tiny_sam(), proposals.working_image, implementation))


@pytest.mark.parametrize("implementation", ["fast", "stock"])
def test_progress_counts_points(implementation):
    calls = []
    generator = SamProposalGenerator(
        tiny_sam(), implementation=implementation, points_per_batch=5, **TINY_SAM_THRESHOLDS
    )
    generator(random_image(64, 64), progress=lambda *call: calls.append(call))
    assert {(stage, total) for stage, _, total in calls} == {(PROPOSING, 64)}
    done = [done for _, done, _ in calls]
    assert done == sorted(done)
    assert set(done) == {*range(0, 64, 5), 64}


@pytest.mark.parametrize("implementation", ["fast", "stock"])
def test_a_cancelled_run_leaves_nothing_behind(implementation):
    def cancel_halfway(stage: str, done: int, total: int) -> None:
        if done > total / 2:
            raise Cancelled("enough")

    image = random_image(64, 64)
    generator = SamProposalGenerator(tiny_sam(), implementation=implementation, **TINY_SAM_THRESHOLDS)
    before = generator(image)
    with pytest.raises(Cancelled):
        generator(image, progress=cancel_halfway)
    assert_same(generator(image), before)


def test_the_network_that_was_given_is_not_changed():
    sam = tiny_sam()
    before = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    SamProposalGenerator(sam, runtime=runtime, **TINY_SAM_THRESHOLDS)(random_image(64, 64))
    after = sam.state_dict()
    assert all(
        torch.equal(before[name], after[name]) and after[name].dtype == torch.float32 for name in before
    )


def test_bfloat16_proposes_nearly_the_same_masks():
    sam = tiny_sam(seed=1)
    image = random_image(70, 100)
    full = propose(sam, image, "fast", **EVERYTHING)
    half = propose(sam, image, "fast", **EVERYTHING, runtime=Runtime(torch.device("cpu"), torch.bfloat16))
    assert len(half) == pytest.approx(len(full), abs=3)
    pairs = half.masks[:, None] & full.masks[None]
    overlaps = pairs.sum((2, 3)) / (half.masks[:, None] | full.masks[None]).sum((2, 3))
    assert np.median(overlaps.max(axis=1)) > 0.9


@pytest.mark.gpu
@pytest.mark.parametrize("implementation", ["fast", "stock"])
def test_same_masks_on_a_gpu(implementation):
    sam = tiny_sam(seed=1)
    image = random_image(70, 100)
    runtime = Runtime(torch.device("cuda"))
    assert_same(propose(sam, image, implementation, runtime=runtime), propose(sam, image, "stock"))


def test_settings_are_a_cache_key():
    sam = tiny_sam()
    generator = SamProposalGenerator(sam)
    assert hash(generator.settings) == hash(SamProposalGenerator(sam).settings)
    others = [
        {"points_per_side": 16},
        {"pred_iou_thresh": 0.8},
        {"stability_score_thresh": 0.9},
        {"stability_score_offset": 0.5},
        {"box_nms_thresh": 0.5},
        {"long_side": 1280},
        {"implementation": "stock"},
        {"runtime": Runtime(torch.device("cpu"), torch.bfloat16)},
    ]
    keys = {generator.settings, *(SamProposalGenerator(sam, **changed).settings for changed in others)}
    assert len(keys) == 1 + len(others)
    assert SamProposalGenerator(sam, points_per_batch=9).settings == generator.settings


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"implementation": "faster"}, "faster"),
        ({"points_per_side": 0}, "points_per_side is 0"),
        ({"points_per_batch": -1}, "points_per_batch is -1"),
        ({"long_side": 0}, "long_side is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(ModelError, match=named):
        SamProposalGenerator(tiny_sam(), **settings)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((8, 8, 3), np.float32), id="float"),
        pytest.param(np.zeros((8, 8), np.uint8), id="grey"),
        pytest.param(np.zeros((8, 8, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((0, 8, 3), np.uint8), id="empty"),
    ],
)
def test_what_is_no_rgb_image_is_refused(image):
    with pytest.raises(ImageError, match="RGB"):
        SamProposalGenerator(tiny_sam())(image)


@pytest.mark.parametrize("implementation", ["fast", "stock"])
def test_another_grid_gives_what_a_generator_of_that_grid_gives(implementation):
    sam, image = tiny_sam(seed=1), random_image(70, 100)
    own = SamProposalGenerator(sam, implementation=implementation, **TINY_SAM_THRESHOLDS | LENIENT)
    side = 2 * own.points_per_side
    finer = own.with_points(side)
    expected = propose(sam, image, implementation, **LENIENT, points_per_side=side)
    found = finer(image)
    assert_same(found, expected)
    assert found.points_per_side == side and finer.settings != own.settings
    assert own(image).points_per_side == own.points_per_side == side // 2
    with pytest.raises(ModelError, match="points_per_side is 0"):
        own.with_points(0)


def test_a_known_embedding_is_not_computed_again(monkeypatch):
    generator = SamProposalGenerator(tiny_sam(), **TINY_SAM_THRESHOLDS | LENIENT)
    image = random_image(48, 64)
    own, finer = generator(image), generator.with_points(8)
    expected = finer(image)
    monkeypatch.setattr(type(generator._masks), "_encode", None)
    found = finer(image, embedding=own.embedding)
    assert_same(found, expected)
    assert found.embedding is own.embedding
