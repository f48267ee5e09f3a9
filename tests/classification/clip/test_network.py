"""CLIP's network out of a checkpoint's tensors."""

import pytest
import torch

from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip, clip_state, fingerprint
from ovseg_demo.errors import CheckpointError
from tests.tiny.clip import tiny_clip_tensors


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"width": 64, "layers": 1, "patch": 4, "grid": 2, "text_width": 128, "text_layers": 1},
        {"embedding_width": 16, "vocabulary_size": 514, "context_length": 20, "mask_prompt_depth": 0},
    ],
)
def test_sizes_are_read_off_the_tensors_and_come_back_out(sizes):
    tensors = tiny_clip_tensors(**sizes)
    model = build_clip(tensors)
    state = clip_state(model, tensors.get(MASK_EMBEDDING))
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in tensors)
    assert model.visual.transformer.resblocks[0].attn.head_dim == 64
    assert model.transformer.resblocks[0].attn.head_dim == 64


def test_weights_that_fit_are_shared_and_not_copied():
    tensors = tiny_clip_tensors()
    model = build_clip(tensors)
    shared = {parameter.data_ptr() for parameter in model.parameters()}
    assert shared == {tensors[name].data_ptr() for name in clip_state(model)}
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])


def test_heavy_weights_take_the_precision_and_the_rest_stays_float32():
    model = build_clip(tiny_clip_tensors(), dtype=torch.bfloat16)
    names = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16}
    assert "visual.conv1.weight" in names
    assert {f"transformer.resblocks.0.{part}.weight" for part in ("mlp.c_fc", "attn.out_proj")} <= names
    assert not any("ln_" in name or "embedding" in name for name in names)


def test_half_precision_checkpoints_are_widened():
    half = {name: tensor.half() for name, tensor in tiny_clip_tensors().items()}
    assert {parameter.dtype for parameter in build_clip(half).parameters()} == {torch.float32}


ONE = torch.ones(1)


def without(name: str) -> dict[str, torch.Tensor]:
    tensors = tiny_clip_tensors()
    del tensors[name]
    return tensors


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, 'not the weights of a CLIP: "visual.conv1.weight" is missing'),
        (without("visual.proj"), '"visual.proj" is missing'),
        (without("visual.ln_post.bias"), '"visual.ln_post.bias" is missing'),
        (without("transformer.resblocks.1.ln_1.bias"), '"transformer.resblocks.1.ln_1.bias" is missing'),
        (
            tiny_clip_tensors() | {"visual.a": ONE, "visual.b": ONE},
            r'"visual.a" \(and 1 more\) is unexpected',
        ),
        (tiny_clip_tensors() | {"visual.proj": torch.ones(3)}, r'"visual.proj" has the shape \(3,\)'),
        (
            tiny_clip_tensors() | {"visual.class_embedding": torch.ones(3)},
            r'"visual.class_embedding" has the shape \(3,\) where the others ask for \(128,\)',
        ),
        (
            tiny_clip_tensors() | {"visual.positional_embedding": torch.ones(16, 128)},
            r'"visual.positional_embedding" has the shape \(16, 128\) where the others ask for \(10, 128\)',
        ),
        (tiny_clip_tensors(width=96), "96 and 64 wide; a CLIP's widths are multiples of 64"),
        ({"visual.layer1.0.conv1.weight": ONE}, "a CLIP with a ResNet; take one with a ViT"),
    ],
)
def test_tensors_that_make_no_clip_are_refused_by_name(tensors, message):
    with pytest.raises(CheckpointError, match=message):
        build_clip(tensors)


def test_equal_weights_have_equal_fingerprints():
    tensors = tiny_clip_tensors()
    copied = {name: tensors[name].clone() for name in reversed(tensors)}
    assert fingerprint(tensors, quick_gelu=True) == fingerprint(copied, quick_gelu=True)


def test_any_change_changes_the_fingerprint():
    tensors = tiny_clip_tensors()
    weight = "visual.transformer.resblocks.2.mlp.c_fc.weight"
    changed = tensors[weight].clone()
    changed.view(-1)[12_345] *= 1.001
    variants = [
        fingerprint(tensors, quick_gelu=True),
        fingerprint(tensors, quick_gelu=False),
        fingerprint(tensors | {weight: changed}, quick_gelu=True),
        fingerprint(tensors | {"logit_scale": tensors["logit_scale"] + 1}, quick_gelu=True),
        fingerprint(tensors | {weight: tensors[weight].T.contiguous()}, quick_gelu=True),
        fingerprint(without(MASK_EMBEDDING), quick_gelu=True),
    ]
    assert len(set(variants)) == len(variants)
