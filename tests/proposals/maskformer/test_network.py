"""The network against independent computations, and its tensors against the published format."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models import resnet as timm_resnet
from timm.models import swin_transformer as timm_swin

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import Checkpoint, CheckpointKind
from ovseg_demo.proposals.maskformer.config import (
    MaskFormerConfig,
    ResNetConfig,
    SwinConfig,
    read_config,
    timm_cnn,
)
from ovseg_demo.proposals.maskformer.network import (
    MaskFormerNetwork,
    build_maskformer,
    places,
    published_tensors,
    sine_positions,
)
from ovseg_demo.proposals.maskformer.resnet import ResNet
from ovseg_demo.proposals.maskformer.swin import Swin, SwinBlock
from tests.paths import DATA
from tests.tiny.maskformer import BACKBONES, tiny_maskformer, tiny_maskformer_config, tiny_maskformer_tensors


def stage_1(published: dict) -> dict:
    """The MaskFormer of a published checkpoint's tensors."""
    return Checkpoint(Path("published.pth"), CheckpointKind.OVSEG, published).maskformer()


# ---- the checkpoint format


@pytest.mark.parametrize(
    ("name", "config"),
    [
        (
            "ovseg_swinbase_vitL14_ft_mpt",
            MaskFormerConfig(
                backbone=SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32), (12, 12, 12, 12)),
                embedding_width=768,
                class_embed_widths=(1024,),
            ),
        ),
        (
            "ovseg_R101c_vitB16_ft_mpt",
            MaskFormerConfig(
                backbone=ResNetConfig(
                    (64, 64, 128), (3, 4, 23, 3), (64, 128, 256, 512), (256, 512, 1024, 2048)
                ),
                embedding_width=512,
                class_embed_widths=(1024,),
            ),
        ),
    ],
)
def test_takes_exactly_the_published_tensors(name, config):
    shapes = {}
    for line in (DATA / f"{name}.shapes.txt").read_text().splitlines():
        tensor, *sizes = line.split()
        shapes[tensor] = torch.Size(map(int, sizes))
    published = {tensor: torch.empty(shape, device="meta") for tensor, shape in shapes.items()}
    network = build_maskformer(stage_1(published))
    assert network.config == config
    again = {tensor: value.shape for tensor, value in published_tensors(network).items()}
    of_others = ("clip_adapter.clip_model.", "clip_adapter.pixel_", "criterion.")
    assert again == {tensor: shape for tensor, shape in shapes.items() if not tensor.startswith(of_others)}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_published_tensors_rebuild_the_same_network(backbone):
    network = tiny_maskformer(backbone)
    again = build_maskformer(stage_1(published_tensors(network)))
    assert again.config == network.config
    assert not again.training
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (expected,), (found,) = network(pixels), again(pixels)
    assert torch.equal(found.mask_logits, expected.mask_logits)
    assert torch.equal(found.class_embeddings, expected.class_embeddings)


def test_half_precision_weights_are_computed_in_float32():
    tensors = {name: tensor.half() for name, tensor in stage_1(tiny_maskformer_tensors()).items()}
    assert {parameter.dtype for parameter in build_maskformer(tensors).parameters()} == {torch.float32}


swin_configs = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 4]), st.integers(1, 7)), min_size=4, max_size=4
).map(lambda stages: SwinConfig(8, *(tuple(column) for column in zip(*stages, strict=True)), mlp_ratio=2.0))
resnet_configs = st.builds(
    ResNetConfig,
    stem_channels=st.tuples(*[st.integers(1, 8)] * 3),
    depths=st.tuples(*[st.integers(1, 4)] * 4),
    widths=st.tuples(*[st.integers(1, 8)] * 4),
    channels=st.tuples(*[st.integers(1, 16)] * 4),
)
configs = st.builds(
    MaskFormerConfig,
    backbone=swin_configs | resnet_configs,
    embedding_width=st.integers(1, 16),
    pixel_decoder_width=st.sampled_from([32, 64]),
    mask_width=st.integers(1, 16),
    hidden_width=st.sampled_from([8, 24]),
    feedforward_width=st.integers(1, 16),
    decoder_layers=st.integers(1, 3),
    queries=st.integers(1, 8),
    mask_embed_widths=st.lists(st.integers(1, 8), max_size=3).map(tuple),
    class_embed_widths=st.lists(st.integers(1, 8), max_size=3).map(tuple),
)


@settings(max_examples=25, deadline=None)
@given(configs)
def test_every_size_is_read_off_the_shapes(config):
    with torch.device("meta"):
        network = MaskFormerNetwork(config)
    assert read_config(stage_1(published_tensors(network))) == config


def test_transformer_as_wide_as_res5_may_do_without_projection():
    config = MaskFormerConfig(
        backbone=BACKBONES["swin"],
        embedding_width=8,
        pixel_decoder_width=32,
        mask_width=8,
        hidden_width=BACKBONES["swin"].channels[-1],
        feedforward_width=8,
        queries=2,
        projects_features=False,
    )
    network = build_maskformer(stage_1(published_tensors(MaskFormerNetwork(config))))
    assert network(torch.zeros(1, 3, 64, 64))[0].class_embeddings.shape == (1, 2, 8)


def break_tensors(tensors: dict, how: str) -> None:
    if how == "missing":
        del tensors["sem_seg_head.pixel_decoder.layer_2.norm.bias"]
    elif how == "missing size":
        del tensors["sem_seg_head.predictor.query_embed.weight"]
    elif how == "unexpected":
        tensors["sem_seg_head.extra.weight"] = torch.zeros(1)
    elif how == "shape":
        tensors["sem_seg_head.predictor.transformer.decoder.norm.weight"] = torch.zeros(5)
    elif how == "backbone":
        del tensors["backbone.patch_embed.proj.weight"]
    elif how == "heads":
        tensors["sem_seg_head.predictor.query_embed.weight"] = torch.zeros(3, 12)


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", r'"sem_seg_head\.pixel_decoder\.layer_2\.norm\.bias" is missing'),
        ("missing size", r"query_embed\.weight"),
        ("unexpected", r'"sem_seg_head\.extra\.weight" is unexpected'),
        ("shape", r'norm\.weight" has the shape \(5,\) where the others ask for \(32,\)'),
        ("backbone", "backbone is unknown"),
        ("heads", "12 wide"),
    ],
)
def test_damaged_checkpoints_get_a_sentence_that_names_the_tensor(how, named):
    tensors = stage_1(tiny_maskformer_tensors())
    break_tensors(tensors, how)
    with pytest.raises(CheckpointError, match=named):
        build_maskformer(tensors)


# ---- the arithmetic


def test_swin_equals_timms_where_nothing_is_padded():
    config = SwinConfig(embed_dim=8, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_sizes=(2, 2, 2, 2))
    torch.manual_seed(0)
    ours = Swin(config).eval()
    theirs = timm_swin.SwinTransformer(
        img_size=64,
        patch_size=4,
        embed_dim=8,
        depths=config.depths,
        num_heads=config.num_heads,
        window_size=2,
        num_classes=0,
        always_partition=True,
    ).eval()
    weights = {name: value for name, value in ours.state_dict().items() if not name.startswith("norm")}
    for stage in (2, 1, 0):  # timm downsamples at the start of the next stage
        for name in [name for name in weights if name.startswith(f"layers.{stage}.downsample")]:
            weights[name.replace(f"layers.{stage}", f"layers.{stage + 1}")] = weights.pop(name)
    incompatible = theirs.load_state_dict(weights, strict=False)
    assert set(incompatible.missing_keys) == {"norm.weight", "norm.bias"}
    assert not incompatible.unexpected_keys
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        found = ours(pixels)
        expected = theirs.forward_intermediates(pixels, intermediates_only=True)
        for stage, (feature, reference) in enumerate(zip(found, expected, strict=True)):
            norm = ours.get_submodule(f"norm{stage}")
            reference = norm(reference.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            torch.testing.assert_close(feature, reference)


@pytest.mark.parametrize(("height", "width", "shift"), [(7, 5, 1), (7, 5, 0), (2, 8, 1), (3, 3, 1)])
def test_swin_block_pads_then_rolls(height, width, shift):
    """A token attends to those, padding included, that share its window and its side of the roll's seam."""
    window, dim, heads = 3, 8, 2
    torch.manual_seed(0)
    block = SwinBlock(dim, heads, window, shift, mlp_ratio=1.0).double().eval()
    torch.nn.init.normal_(block.attn.relative_position_bias_table)
    x = torch.randn(1, height, width, dim, dtype=torch.double)
    padded_height, padded_width = -(-height // window) * window, -(-width // window) * window
    padded = F.pad(x, (0, 0, 0, padded_width - width, 0, padded_height - height))[0]
    q, k, v = block.attn.qkv(padded).unflatten(-1, (3, heads, dim // heads)).unbind(2)  # (H, W, heads, C)
    bias = block.attn.relative_position_bias_table.view(2 * window - 1, 2 * window - 1, heads)

    def place(index, size):
        """Which window, where in it, and on which side of the seam a row or column lies once it is rolled."""
        rolled = (index - shift) % size
        return rolled // window, rolled % window, index < shift

    expected = torch.empty_like(x)
    for row in range(height):
        for column in range(width):
            (top, y, above), (left, x_, before) = place(row, padded_height), place(column, padded_width)
            scores, values = [], []
            for other_row in range(padded_height):
                for other_column in range(padded_width):
                    (top_, y_, above_) = place(other_row, padded_height)
                    (left_, other_x, before_) = place(other_column, padded_width)
                    if (top, left, above, before) != (top_, left_, above_, before_):
                        continue
                    product = (q[row, column] * k[other_row, other_column]).sum(-1) / (dim // heads) ** 0.5
                    scores.append(product + bias[y - y_ + window - 1, x_ - other_x + window - 1])
                    values.append(v[other_row, other_column])
            weights = torch.stack(scores).softmax(0)[..., None]  # (tokens, heads, 1)
            attended = (weights * torch.stack(values)).sum(0).flatten()
            expected[0, row, column] = block.attn.proj(attended)
    torch.testing.assert_close(block._attn(x), expected)


def test_resnet_equals_timms_with_dilations_set():
    channels = (16, 32, 64, 128)
    config = ResNetConfig((6, 6, 12), (2, 2, 3, 3), tuple(c // 4 for c in channels), channels)
    torch.manual_seed(0)
    ours = ResNet(config)
    for norm in (module for module in ours.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.running_mean, -1, 1)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 2)
    theirs = timm_resnet.ResNet(
        timm_resnet.Bottleneck,
        layers=config.depths,
        channels=config.widths,
        stem_type="deep",
        stem_width=6,
        num_classes=0,
    )
    for block, dilation in zip(theirs.layer4, (1, 2, 4), strict=True):
        block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    theirs.load_state_dict({timm_name(name): value for name, value in ours.state_dict().items()})
    pixels = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        found = ours.eval()(pixels)
        expected = theirs.eval().forward_intermediates(pixels, indices=[1, 2, 3, 4], intermediates_only=True)
    for feature, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(feature, reference)


def timm_name(name: str) -> str:
    renamed = {"stem.conv1.norm": "conv1.1", "stem.conv1": "conv1.0", "stem.conv2.norm": "conv1.4"}
    renamed |= {"stem.conv2": "conv1.3", "stem.conv3.norm": "bn1", "stem.conv3": "conv1.6"}
    renamed |= {f"res{stage}": f"layer{stage - 1}" for stage in (2, 3, 4, 5)}
    renamed |= {f".conv{i}.norm": f".bn{i}" for i in (1, 2, 3)}
    renamed |= {"shortcut.norm": "downsample.1", "shortcut": "downsample.0"}
    for ours, theirs in renamed.items():
        name = name.replace(ours, theirs)
    return name


def test_sine_positions_by_hand():
    positions = sine_positions(8, 2, 3).view(2, 3, 8)
    y, x = torch.pi * 2 / 2, 2 * torch.pi * 2 / 3  # first row, second column
    expected = [torch.tensor(v) for v in (y, y, y / 100, y / 100, x, x, x / 100, x / 100)]
    expected = [value.cos() if i % 2 else value.sin() for i, value in enumerate(expected)]
    torch.testing.assert_close(positions[0, 1], torch.stack(expected), atol=1e-5, rtol=0)


# ---- training


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_parameter_learns_from_deep_supervision(backbone):
    torch.manual_seed(0)
    network = MaskFormerNetwork(tiny_maskformer_config(backbone)).train()
    predictions = network(torch.randn(2, 3, 64, 64), all_layers=True)
    assert len(predictions) == network.config.decoder_layers
    loss = 0
    for prediction in predictions:
        class_logits = F.normalize(prediction.class_embeddings, dim=-1) @ network.non_object_embedding.T
        loss = loss + prediction.mask_logits.square().mean() + class_logits.mean()
    loss.backward()
    idle = {name for name, parameter in network.named_parameters() if not parameter.grad.any()}
    # Content starts at zero, and so do biases: the first self-attention has nothing to weigh yet.
    nothing_to_weigh = ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "norm1.weight")
    first_layer = "sem_seg_head.predictor.transformer.decoder.layers.0"
    assert idle == {f"{first_layer}.{name}" for name in nothing_to_weigh}


def test_last_of_all_layers_is_the_prediction():
    network = tiny_maskformer()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (single,), (_, last) = network(pixels), network(pixels, all_layers=True)
    torch.testing.assert_close(single.mask_logits, last.mask_logits)
    torch.testing.assert_close(single.class_embeddings, last.class_embeddings)


def test_batch_norm_learns_in_training_and_is_frozen_when_loaded():
    network = build_maskformer(stage_1(tiny_maskformer_tensors("resnet")))
    mean = network.backbone.stem.conv1.norm.running_mean
    before = mean.clone()
    with torch.no_grad():
        network(torch.randn(1, 3, 64, 64) + 3)
        assert torch.equal(mean, before)
        network.train()(torch.randn(1, 3, 64, 64) + 3)
    assert not torch.equal(mean, before)


def test_a_loaded_network_can_be_trained_further():
    network = build_maskformer(stage_1(tiny_maskformer_tensors())).train()
    network(torch.randn(1, 3, 64, 64))[0].mask_logits.sum().backward()
    assert network.backbone.patch_embed.proj.weight.grad.abs().sum() > 0


# ---- the additions of this project


@pytest.fixture(scope="module")
def placed() -> MaskFormerNetwork:
    """A network with a convolutional classifier of timm and places, random weights."""
    torch.manual_seed(0)
    config = MaskFormerConfig(
        backbone=timm_cnn("tf_efficientnet_lite0"),
        embedding_width=8,
        pixel_decoder_width=32,
        mask_width=16,
        hidden_width=32,
        feedforward_width=16,
        decoder_layers=1,
        queries=5,
        mask_embed_widths=(16,),
        class_embed_widths=(),
        knows_places=True,
    )
    return MaskFormerNetwork(config).eval()


def test_a_network_of_timm_s_classifier_and_places_is_read_back(placed):
    network = build_maskformer(stage_1(published_tensors(placed)))
    assert network.config == placed.config
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        (found,), (expected,) = network(pixels), placed(pixels)
    torch.testing.assert_close(found.mask_logits, expected.mask_logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.class_embeddings, expected.class_embeddings, rtol=1e-3, atol=1e-4)
    assert found.mask_logits.shape == (1, 5, 16, 24)


def test_places_are_waves_along_the_axes_at_the_cells_centres():
    found = places(2, 3)[0]
    assert (found[0] == 1).all()
    y, x = (1 + torch.arange(2)) / 2 - 0.25, (0.5 + torch.arange(3)) / 3
    half = (len(found) - 1) // 2
    torch.testing.assert_close(found[1], torch.cos(torch.pi * y)[:, None].expand(2, 3))
    torch.testing.assert_close(found[4], torch.sin(2 * torch.pi * y)[:, None].expand(2, 3))
    torch.testing.assert_close(found[1 + half], torch.cos(torch.pi * x).expand(2, 3))


def test_with_places_a_grey_image_has_masks_that_differ_along_it(placed):
    with torch.no_grad():
        mask_logits = placed(torch.zeros(1, 3, 64, 96))[-1].mask_logits
    assert (mask_logits[..., 0] - mask_logits[..., -1]).abs().mean() > 0.05


def test_a_convolutional_backbone_of_other_sizes_is_refused(placed):
    tensors = stage_1(published_tensors(placed))
    tensors["backbone.trunk.conv_stem.weight"] = torch.zeros(7, 3, 3, 3)
    with pytest.raises(CheckpointError, match="unknown sizes; known are tf_efficientnet_lite0"):
        build_maskformer(tensors)
