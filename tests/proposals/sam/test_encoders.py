"""SAM's small image encoders: recognized, built from exactly the published tensors, used as SAM's own is."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from segment_anything.modeling import Sam
from timm.models.efficientvit_mit import EfficientVitLarge, LiteMLA
from torch import Tensor, nn

from ovseg_demo.errors import Cancelled, CheckpointError, ModelError
from ovseg_demo.proposals.sam.building import SamConfig, build_sam, move_sam, new_sam, read_config
from ovseg_demo.proposals.sam.encoders import registry
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig, ImageEncoder, InputFrame
from ovseg_demo.proposals.sam.encoders.efficientvit import EfficientVitConfig, StageConfig
from ovseg_demo.proposals.sam.encoders.repvit import RepVitConfig
from ovseg_demo.proposals.sam.encoders.tiny_vit import TinyVitConfig
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.sam.grid import resolve_points_per_side
from ovseg_demo.proposals.sam.shapes import Shapes
from tests.paths import DATA

MOBILE_SAM = TinyVitConfig(
    embed_dims=(64, 128, 160, 320), depths=(2, 2, 6, 2), num_heads=(4, 5, 10), window_sizes=(7, 14, 7)
)
REPVIT_SAM = RepVitConfig(embed_dims=(80, 160, 320, 640), depths=(6, 6, 34, 2))
EFFICIENTVIT_SAM_L0 = EfficientVitConfig(
    stages=(
        StageConfig("conv", 32, 1),
        StageConfig("fused", 64, 1, 16, 4),
        StageConfig("fused", 128, 1, 16, 4),
        StageConfig("mobile", 256, 4, 16, 4),
        StageConfig("attention", 512, 4, 24, 6),
    ),
    neck_depth=4,
)
EFFICIENTVIT_SAM_XL0 = EfficientVitConfig(
    stages=(
        StageConfig("conv", 32, 0),
        StageConfig("fused", 64, 1, 16, 4),
        StageConfig("fused", 128, 1, 16, 4),
        StageConfig("fused", 256, 2, 16, 4),
        StageConfig("attention", 512, 3, 16, 4, kernel_size=3),
        StageConfig("attention", 1024, 3, 24, 6, kernel_size=3),
    ),
    neck_depth=6,
    neck_expansion=4,
)
PUBLISHED = {
    "mobile_sam": MOBILE_SAM,
    "repvit_sam": REPVIT_SAM,
    "efficientvit_sam_l0": EFFICIENTVIT_SAM_L0,
    "efficientvit_sam_xl0": EFFICIENTVIT_SAM_XL0,
}

TINY = {
    "tiny_vit": TinyVitConfig(
        embed_dims=(8, 8, 16, 16), depths=(1, 1, 2, 1), num_heads=(2, 2, 4), window_sizes=(7, 14, 7)
    ),
    "repvit": RepVitConfig(embed_dims=(8, 8, 16, 16), depths=(1, 2, 1, 1)),
    "efficientvit": EfficientVitConfig(
        stages=(
            StageConfig("conv", 8, 1),
            StageConfig("fused", 8, 1, 16, 4),
            StageConfig("fused", 16, 1, 16, 4),
            StageConfig("mobile", 16, 1, 16, 4),
            StageConfig("attention", 32, 2, 24, 6),
        ),
        neck_depth=1,
    ),
}
"""Small networks; their input has the published size all the same."""


@pytest.fixture(scope="module", params=TINY)
def sam(request) -> Sam:
    return tiny_sam_of(TINY[request.param])


def tiny_sam_of(encoder: EncoderConfig, seed: int = 0) -> Sam:
    """A random network in which nothing is zero, batch norms included."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = new_sam(SamConfig(encoder, prompt_dim=16, decoder_mlp_dim=16, iou_head_dim=16)).eval()
        with torch.no_grad():
            for parameter in sam.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            for module in sam.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_()
                    module.running_var.uniform_(0.5, 2)
    return sam


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    lines = (DATA / f"{name}.shapes.txt").read_text().splitlines()
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in lines}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_read_off_the_published_tensors(name):
    tensors = {tensor: torch.empty(shape, device="meta") for tensor, shape in shapes_of(name).items()}
    config = read_config(tensors)
    assert config == SamConfig(PUBLISHED[name])
    reads = 512 if name == "efficientvit_sam_l0" else 1024
    assert config.frame == InputFrame(image_size=reads, grid_size=64, prompt_size=1024)


@pytest.mark.parametrize("name", ["mobile_sam", "repvit_sam", "efficientvit_sam_l0"])
def test_takes_exactly_the_published_tensors(name):
    tensors = {tensor: torch.zeros(()).expand(shape) for tensor, shape in shapes_of(name).items()}
    build_sam(tensors)
    missing = [
        next(tensor for tensor in tensors if tensor.startswith(prefix) and "weight" in tensor)
        for prefix in ("image_encoder.neck.", "mask_decoder.")
    ]
    others = {tensor: value for tensor, value in tensors.items() if tensor not in missing}
    found = r'\(and 1 more\) is missing; "image_encoder\..*adapter.*" is unexpected'
    with pytest.raises(CheckpointError, match=found):
        build_sam({**others, "image_encoder.adapter": torch.zeros(1)})


def test_the_network_computes_in_evaluation_mode_what_it_was_trained_as(sam):
    """Folded batch norms, and the biases that TinyViT gathers, give the embedding of the plain network."""
    ready = move_sam(sam, torch.device("cpu"))
    ready.image_encoder.finish()
    pixels = torch.randn(1, 3, sam.image_encoder.img_size, sam.image_encoder.img_size)
    announced: list[int] = []
    with torch.inference_mode():
        expected = sam.image_encoder(pixels)
        embedding = ready.image_encoder.encode(pixels, lambda: announced.append(1))
    assert expected.shape == (1, 16, 64, 64)
    torch.testing.assert_close(embedding, expected, rtol=1e-4, atol=1e-4)
    assert len(announced) >= 4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.image_encoder.modules())


def test_an_encoder_that_has_run_can_run_in_another_precision():
    """What the first run keeps, such as TinyViT's gathered biases, must not reach the second."""
    sam = tiny_sam_of(TINY["tiny_vit"])
    size = sam.image_encoder.img_size
    pixels = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        full = sam.image_encoder(pixels)
        half = move_sam(sam, torch.device("cpu"), torch.bfloat16).image_encoder(pixels.bfloat16())
        again = sam.image_encoder(pixels)
    assert half.dtype == torch.bfloat16
    assert (half - full).abs().mean() < 0.05 * full.abs().mean()
    assert torch.equal(again, full)


def test_an_encoder_can_be_stopped_after_each_part(sam):
    def stop() -> None:
        raise Cancelled("enough")

    size = sam.image_encoder.img_size
    with torch.inference_mode(), pytest.raises(Cancelled):
        sam.image_encoder.encode(torch.zeros(1, 3, size, size), stop)


def test_unknown_encoders_are_named():
    with pytest.raises(CheckpointError, match=r'unknown image encoder .*"image_encoder.odd".*MobileSAM'):
        read_config({"image_encoder.odd": torch.zeros(1)})


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("mobile_sam", "image_encoder.layers.2.blocks.0.attn.attention_biases"),
        ("repvit_sam", "image_encoder.features.1.channel_mixer.m.0.c.weight"),
        ("efficientvit_sam_l0", "image_encoder.backbone.stages.2.op_list.0.main.point_conv.conv.weight"),
    ],
)
def test_a_size_that_cannot_be_read_is_named_as_in_the_file(name, tensor):
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(name).items()}
    del tensors[tensor]
    with pytest.raises(CheckpointError, match=re.escape(f'"{tensor}" is missing')):
        read_config(tensors)


def test_biases_of_no_square_window_are_refused():
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes_of("mobile_sam").items()}
    tensors["image_encoder.layers.1.blocks.0.attn.attention_biases"] = torch.empty(4, 50)
    with pytest.raises(CheckpointError, match="no square window"):
        read_config(tensors)


# ---- EfficientViT-SAM


def test_efficientvit_computes_what_timms_network_does():
    config = TINY["efficientvit"]
    encoder = tiny_sam_of(config).image_encoder
    timms = EfficientVitLarge(
        widths=tuple(stage.width for stage in config.stages),
        depths=tuple(stage.depth for stage in config.stages),
        norm_eps=1e-6,
        num_classes=0,
        head_widths=(8, 8),
    ).eval()
    for module in timms.modules():
        if isinstance(module, LiteMLA):
            module.eps = 1e-15
    found = timms.load_state_dict(
        {timms_name(name): value for name, value in encoder.backbone.stages.state_dict().items()},
        strict=False,
    )
    assert not found.unexpected_keys and all(name.startswith("head.") for name in found.missing_keys)
    pixels = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        expected = timms.forward_features(pixels)
        embedding = pixels
        for stage in encoder.backbone.stages:
            embedding = stage(embedding)
    torch.testing.assert_close(embedding, expected, rtol=1e-4, atol=1e-5)


def timms_name(name: str) -> str:
    name = name.replace("0.op_list.0.", "stem.in_conv.", 1) if name.startswith("0.op_list.0.") else name
    name = re.sub(r"^0\.op_list\.(\d+)\.", lambda m: f"stem.res{int(m[1]) - 1}.", name)
    return re.sub(r"^(\d)\.op_list\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.", name)


def test_efficientvit_reads_fewer_pixels_than_prompts_live_in():
    """Points are scaled to 1024 pixels, and masks come down from there, though the encoder reads 512."""
    sam = build_sam(tiny_sam_of(TINY["efficientvit"], seed=1).state_dict())
    assert {m.eps for m in sam.mask_decoder.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    image = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    thresholds = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    found = SamProposalGenerator(sam, points_per_side=1, **thresholds)(image)
    logits, quality = predict_center(sam, image)
    visible = (logits > 0).flatten(1).any(dim=1)  # the generator drops masks without a pixel
    logits, quality = logits[visible], quality[visible]
    order = quality.argsort(descending=True)
    assert len(order) >= 2
    np.testing.assert_allclose(found.scores, quality[order], rtol=1e-4)
    masks = (logits[order] > 0).numpy()
    assert 0.05 < masks.mean() < 0.95
    assert (found.masks != masks).mean() < 1e-3


def predict_center(sam: Sam, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mask logits (3, H, W) and their predicted IoU (3,) for a point in the middle of a 4:3 image."""
    resized = np.asarray(Image.fromarray(image).resize((512, 384), Image.Resampling.BILINEAR))
    pixels = (torch.from_numpy(resized.copy()).permute(2, 0, 1) - sam.pixel_mean) / sam.pixel_std
    pixels = F.pad(pixels, (0, 0, 0, 128))[None]
    with torch.inference_mode():
        points = (torch.tensor([[[512.0, 384.0]]]), torch.ones(1, 1))
        sparse, dense = sam.prompt_encoder(points, boxes=None, masks=None)
        logits, quality = sam.mask_decoder(
            sam.image_encoder(pixels), sam.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=True
        )
        logits = F.interpolate(logits, (1024, 1024), mode="bilinear", align_corners=False)[:, :, :768]
        logits = F.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
    return logits[0], quality[0]


def test_the_stock_generator_refuses_an_encoder_with_two_frames():
    with pytest.raises(ModelError, match=r'reads 512 pixels .* 1024; choose implementation="fast"'):
        SamProposalGenerator(tiny_sam_of(TINY["efficientvit"]), implementation="stock")


# ---- a kind of one's own


@dataclass(frozen=True)
class PatchesConfig(EncoderConfig):
    """One convolution; its input size is free and stored as a value."""

    title = "patches"

    image_size: int

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        return "image_size" in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        return cls(int(tensors["image_size"]))

    @property
    def frame(self) -> InputFrame:
        return InputFrame.of_stride(self.image_size, 16)

    def build(self, prompt_dim: int) -> ImageEncoder:
        return Patches(self, prompt_dim)


class Patches(ImageEncoder):
    def __init__(self, config: PatchesConfig, prompt_dim: int):
        super().__init__()
        self.set_frame(config.frame)
        self.register_buffer("image_size", torch.tensor(config.image_size))
        self.conv = nn.Conv2d(3, prompt_dim, 16, stride=16)

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        return self.conv(pixels)


@pytest.mark.parametrize("image_size", [64, 112])
def test_another_kind_is_one_class_and_one_entry(image_size, monkeypatch):
    monkeypatch.setattr(registry, "ENCODERS", (*registry.ENCODERS, PatchesConfig))
    sam = build_sam(tiny_sam_of(PatchesConfig(image_size)).state_dict())
    assert read_config(sam.state_dict()).encoder == PatchesConfig(image_size)
    assert_same_masks_as_stock(sam)


# ---- the whole way


@pytest.mark.parametrize("kind", ["tiny_vit", "repvit"])
def test_same_masks_as_the_stock_generator(kind):
    assert_same_masks_as_stock(tiny_sam_of(TINY[kind]))


def assert_same_masks_as_stock(sam: Sam) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    settings = {
        "points_per_side": 3,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
    }
    stock = SamProposalGenerator(sam, implementation="stock", **settings)(image)
    found = SamProposalGenerator(sam, **settings)(image)
    assert len(found) == len(stock) > 3
    np.testing.assert_allclose(found.scores, stock.scores, atol=1e-5)
    assert (found.masks != stock.masks).mean() < 1e-3


@pytest.mark.parametrize(
    ("device", "grid_size", "expected"),
    [("cpu", 64, 16), ("cuda", 64, 32), ("mps", 64, 32), ("cuda", 32, 16), ("cpu", 24, 12), ("cpu", 1, 1)],
)
def test_the_automatic_grid_follows_the_machine_and_the_encoder(device, grid_size, expected):
    assert resolve_points_per_side("auto", device, grid_size) == expected
    assert resolve_points_per_side(7, device, grid_size) == 7
