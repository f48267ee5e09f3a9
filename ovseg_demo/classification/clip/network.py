"""Build CLIP's network from the tensors of a checkpoint; their shapes give its sizes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer
from torch import Tensor

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.mapped_files import MappedFiles, place_tensors
from ovseg_demo.runtime.tensors import Shapes, check_names_and_shapes

HEAD_WIDTH = 64
MASK_EMBEDDING = "visual.mask_embedding"
"""The key of the mask prompts, float (D, G², C), among tensors under OpenAI's names."""

_BYTES_AT_ONCE = 2**24
"""Of a mapped tensor that are in memory while its hash is computed."""

# Tensors of a checkpoint that are not the network's: prompts, which other code reads, and constants that
# OpenAI's archives contain.
_OTHER_KEYS = re.compile(
    r"visual\.mask_embedding|prompt_learner\..*|input_resolution|context_length|vocab_size"
)


def build_clip(
    tensors: Mapping[str, Tensor],
    *,
    quick_gelu: bool = True,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> CLIP:
    """Return the CLIP (a ViT and a causal text transformer) with these weights.

    The module allocates no memory for weights. It shares a tensor that already has the right dtype and device
    with ``tensors``, and copies the others.

    Args:
        tensors: tensors under OpenAI's names; mask prompts and learned prompts among them are ignored.
        quick_gelu: whether to use the activation x · sigmoid(1.702 x), with which OpenAI's weights were
            trained, instead of GELU.
        dtype: of the large weight matrices. Norms and embeddings stay in float32.
        device: of the weights.

    Raises:
        CheckpointError: a tensor is missing or unexpected, or its shape does not fit the others.
    """
    with torch.device("meta"):
        model = CLIP(**_read_config(tensors), quick_gelu=quick_gelu)
    own = {name: tensor for name, tensor in tensors.items() if not _OTHER_KEYS.fullmatch(name)}
    check_names_and_shapes(model.state_dict(), own, "a CLIP")
    placed = place_tensors(own, partial(_place, dtype=dtype, device=device))
    model.load_state_dict(placed, assign=True)
    # This is the only buffer. Checkpoints do not contain it.
    context = model.context_length
    model.attn_mask = torch.full((context, context), -math.inf, device=device).triu_(1)
    return model.eval()


def build_text_tower(
    tensors: Mapping[str, Tensor], *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> TextTransformer:
    """Return CLIP's causal text tower, with GELU, without an image tower.

    Args:
        tensors: the text tower's under OpenAI's names; those of ``visual.*`` and the scale of logits are
            ignored.
        dtype: of the large weight matrices.
        device: of the weights.

    Raises:
        CheckpointError: a tensor is missing or unexpected, or its shape does not fit the others.
    """
    own = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("visual.") and name not in ("logit_scale", "logit_bias")
    }
    shapes = _ClipShapes(own, "a CLIP")
    with torch.device("meta"):
        tower = TextTransformer(**_read_text_config(shapes), output_dim=shapes.of("text_projection", 2)[1])
    check_names_and_shapes(tower.state_dict(), own, "a CLIP's text tower")
    placed = place_tensors(own, partial(_place, dtype=dtype, device=device))
    tower.load_state_dict(placed, assign=True)
    return tower.eval().requires_grad_(False)


def clip_state(model: CLIP, mask_embedding: Tensor | None = None) -> dict[str, Tensor]:
    """Return the tensors of a network and its mask prompts under OpenAI's names, for :func:`build_clip`."""
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if mask_embedding is not None:
        state[MASK_EMBEDDING] = mask_embedding.detach()
    return state


def fingerprint(
    tensors: Mapping[str, Tensor], quick_gelu: bool, config: Mapping[str, Any] | None = None
) -> str:
    """Return a hash of all weights, the activation and the configuration, if there is one.

    Equal models have equal hashes on every device.

    The hash covers some values of each tensor and the sum of the whole tensor, read as 64-bit integers. It
    takes one pass at the speed of memory. Every training step changes it, but it does not protect against
    forgery.
    """
    digest, mapped = hashlib.sha256(f"quick_gelu={quick_gelu}".encode()), MappedFiles.now()
    if config:
        digest.update(json.dumps(config, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        whole = len(data) // 8 * 8
        total = np.uint64(0)
        for piece in data[:whole].split(_BYTES_AT_ONCE):
            with np.errstate(over="ignore"):  # a sum modulo 2⁶⁴
                total += piece.numpy().view(np.uint64).sum()
            mapped.release(piece)
        digest.update(total.tobytes())
        integers = data[:whole].numpy().view(np.uint64)
        digest.update(integers[:: max(1, len(integers) // 1024)].tobytes())
        digest.update(data[whole:].numpy().tobytes())
        mapped.release(data)
    return digest.hexdigest()


def check_mask_embedding(model: CLIP, mask_embedding: Tensor) -> None:
    """Raise :class:`CheckpointError` unless mask prompts (D, G², C) fit the image tower."""
    patches, width = model.visual.positional_embedding[1:].shape
    if mask_embedding.ndim != 3 or mask_embedding.shape[1:] != (patches, width):
        raise CheckpointError(
            f"The mask prompts have the shape {tuple(mask_embedding.shape)}; this image tower asks for "
            f"(depth, {patches}, {width})."
        )


def _read_config(tensors: Mapping[str, Tensor]) -> dict:
    """Return the arguments of open_clip's ``CLIP`` that the shapes imply."""
    if any(name.startswith("visual.layer1.") for name in tensors):
        raise CheckpointError(
            "These are the weights of a CLIP with a ResNet; take one with a ViT, such as ViT-B/16."
        )
    shapes = _ClipShapes(tensors, "a CLIP")
    image_blocks = "visual.transformer.resblocks"
    width, _, patch, _ = shapes.of("visual.conv1.weight", 4)
    positions, _ = shapes.of("visual.positional_embedding", 2)
    grid = math.isqrt(positions - 1)
    _, text_width = shapes.of("positional_embedding", 2)
    if width % HEAD_WIDTH or text_width % HEAD_WIDTH:
        raise CheckpointError(
            f"These towers are {width} and {text_width} wide; a CLIP's widths are multiples of {HEAD_WIDTH}."
        )
    return {
        "embed_dim": shapes.of("visual.proj", 2)[1],
        "vision_cfg": {
            "layers": shapes.count(image_blocks),
            "width": width,
            "head_width": HEAD_WIDTH,
            "mlp_ratio": shapes.mlp_ratio(image_blocks, width),
            "patch_size": patch,
            "image_size": patch * grid,
        },
        "text_cfg": _read_text_config(shapes),
    }


def _read_text_config(shapes: _ClipShapes) -> dict:
    """Return the arguments of open_clip's text tower that the shapes imply."""
    context, width = shapes.of("positional_embedding", 2)
    blocks = "transformer.resblocks"
    return {
        "context_length": context,
        "vocab_size": shapes.of("token_embedding.weight", 2)[0],
        "width": width,
        "heads": width // HEAD_WIDTH,
        "layers": shapes.count(blocks),
        "mlp_ratio": shapes.mlp_ratio(blocks, width),
    }


class _ClipShapes(Shapes):
    def of(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a tensor that must have this number of dimensions."""
        shape = self[name]
        if len(shape) != dimensions:
            raise CheckpointError(f'These are not the weights of a CLIP: "{name}" has the shape {shape}.')
        return shape

    def mlp_ratio(self, blocks: str, width: int) -> float:
        """Return the hidden width of the blocks' MLPs in multiples of the blocks' width."""
        return self.of(f"{blocks}.0.mlp.c_fc.weight", 2)[0] / width


def _place(name: str, tensor: Tensor, *, dtype: torch.dtype, device: torch.device | str) -> Tensor:
    return tensor.to(device=device, dtype=dtype if _multiplies_tokens(name) else torch.float32)


def _multiplies_tokens(name: str) -> bool:
    """Return whether a tensor is multiplied with all tokens; these products take most of the time."""
    return name == "visual.conv1.weight" or (".resblocks." in name and ".ln_" not in name)
