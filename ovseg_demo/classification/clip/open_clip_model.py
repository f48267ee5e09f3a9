"""Build a CLIP of open_clip from its configuration and tensors: open_clip's own towers and timm's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from open_clip.model import CLIP, CustomTextCLIP, convert_to_custom_text_state_dict
from torch import Tensor, nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.mapped_files import place_tensors
from ovseg_demo.runtime.tensors import check_names_and_shapes

M = TypeVar("M", bound=nn.Module)

_COUNTER = "num_batches_tracked"
"""Of a batch norm's training steps; files are read without it."""
_IGNORED_SETTINGS = ("custom_text", "init_logit_scale")
_WRONG_CONFIG = 'The "model_cfg" of this CLIP\'s open_clip_config.json cannot be built'


def build_open_clip(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], runtime: Runtime
) -> CLIP | CustomTextCLIP:
    """Return the network with its weights, on the runtime's device, ready for inference.

    The matrices of the towers have the runtime's dtype; norms, positions and projections are float32.

    Args:
        config: ``model_cfg``.
        tensors: by open_clip's names; the text tower's may stand at the top level or below ``text.``.
        runtime: device and precision.

    Raises:
        CheckpointError: the configuration is of a model that cannot be built here, or the tensors do not fit.
    """
    if config.get("custom_text"):
        tensors = convert_to_custom_text_state_dict(dict(tensors))
    return place_weights(_constructor(config), tensors, "this CLIP", runtime)


def place_weights(build: Callable[[], M], tensors: Mapping[str, Tensor], what: str, runtime: Runtime) -> M:
    """Return a network with these weights, ready for inference; memory is taken for them only once.

    Args:
        build: makes the network with random weights.
        tensors: of the network, by its own names.
        what: the network with its article, as the message names it.
        runtime: the device, and the dtype of the matrices of the towers.

    Raises:
        CheckpointError: a tensor is missing or unexpected, or its shape does not fit.
    """
    with torch.device("meta"):
        model = build()
    expected = {n: t for n, t in model.state_dict().items() if not n.endswith(_COUNTER)}
    check_names_and_shapes(expected, tensors, what)
    placed = place_tensors(tensors, partial(_place, runtime=runtime))
    model.load_state_dict(placed, assign=True, strict=False)  # without the counters
    _fill_buffers(model, runtime.device)
    return model.eval().requires_grad_(False)


def _constructor(config: Mapping[str, Any]) -> Callable[[], CLIP | CustomTextCLIP]:
    """Return a function that makes the network with random weights."""
    settings = copy.deepcopy(dict(config))
    vision, text = settings.get("vision_cfg"), settings.get("text_cfg")
    if not isinstance(vision, dict) or not isinstance(text, dict) or "embed_dim" not in settings:
        raise CheckpointError(f'{_WRONG_CONFIG}: "embed_dim", "vision_cfg" and "text_cfg" are needed.')
    if "multimodal_cfg" in settings:
        raise CheckpointError("This is a CoCa, which also writes captions; take a CLIP without that part.")
    if text.get("hf_model_name"):
        raise CheckpointError(
            f'The text tower of this CLIP is "{text["hf_model_name"]}" of Hugging Face transformers, which '
            "is not supported; take a CLIP with a text tower of open_clip's own."
        )
    name = str(vision.get("timm_model_name") or "")
    if ":" in name or "/" in name:  # timm would download it
        raise CheckpointError(f'{_WRONG_CONFIG}: "{name}" is not the name of a network of timm.')
    vision["timm_model_pretrained"] = False
    kind = CustomTextCLIP if settings.get("custom_text") else CLIP
    for setting in _IGNORED_SETTINGS:
        settings.pop(setting, None)

    def build() -> CLIP | CustomTextCLIP:
        try:
            return kind(**copy.deepcopy(settings))
        except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(f"{_WRONG_CONFIG}: {reason}.") from error

    return build


def _place(name: str, tensor: Tensor, *, runtime: Runtime) -> Tensor:
    is_large = _is_of_transformer(name) or _is_of_trunk(name, tensor)
    return tensor.to(runtime.device, runtime.dtype if is_large else torch.float32)


def _is_of_transformer(name: str) -> bool:
    """Return whether a tensor is one that open_clip's own transformers multiply by, or its bias."""
    return (".resblocks." in name and ".ln_" not in name) or name == "visual.conv1.weight"


def _is_of_trunk(name: str, tensor: Tensor) -> bool:
    """Return whether a tensor is a matrix of timm's trunk before its pooling; autocast would convert it."""
    _, trunk, part = f".{name}".rpartition(".trunk.")
    is_matrix = part.endswith(".weight") and tensor.dim() > 1
    return bool(trunk) and is_matrix and not part.startswith(("head.", "attn_pool."))


def _fill_buffers(model: nn.Module, device: torch.device) -> None:
    """Give constants that no file holds their values: causal masks, rotary positions."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = torch.tensor(0)
        lacking = [name for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta]
        for name in lacking:
            setattr(module, name, torch.empty_like(getattr(module, name), device=device))
        if lacking == ["attn_mask"]:
            module.attn_mask.fill_(-math.inf).triu_(1)
        elif lacking and hasattr(module, "init_non_persistent_buffers"):
            module.init_non_persistent_buffers()
        elif lacking:
            raise CheckpointError(
                f"This CLIP has constants ({', '.join(lacking)} of {type(module).__name__}) that cannot be "
                "computed here; take another CLIP."
            )
