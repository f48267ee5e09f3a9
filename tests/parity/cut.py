"""Cuts the small kits of ``tests/data/parity`` out of the large ones beside the repository.

    python -m tests.parity.cut ../shared/parity tests/data/parity [KIT...]

Nothing is computed anew: every array is the reference implementation's own. A small kit keeps the tensors
that the arrays which it keeps depend on. All others are set to zero, so that the file is still a whole
checkpoint and is compressed to little. Large arrays are thinned out: ``NAME_everyN`` has every Nth row and
column of ``NAME``.
"""

from __future__ import annotations

import io
import json
import lzma
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.vocabulary import OTHERS, TEMPLATES
from tests.parity.kits import thin

TOKENS = ("clip_adapter.clip_model.token_embedding.weight", "token_embedding.weight")

# Weights are float16 numbers: of every two bytes the first is noise, the second has patterns.
XZ = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 1, "pb": 1}]


@dataclass(frozen=True)
class Cut:
    """What a small kit keeps.

    Attributes:
        arrays: patterns of array names, each with the stride of rows and columns.
        tensors: patterns of the tensors that are kept; the others become zero.
        weights: names of the weights files.
        extra: names of small files that are kept as they are.
    """

    arrays: Mapping[str, int]
    tensors: tuple[str, ...] = ()
    weights: tuple[str, ...] = ("checkpoint.pth",)
    extra: tuple[str, ...] = ()


MASKS = {"valid": 1, "binary_masks_packed": 1, "boxes_xyxy": 1}
CROPS = {"regions_normalised_first_four": 8, "region_masks_first_four": 1, "region_features*": 1}
SAM = Cut(
    {
        "image_embedding": 8,
        "low_res_masks_every4": 4,
        "single_low_res_masks_every8": 4,
        "point_coords": 1,
        "*iou_predictions": 1,
        "everything_*": 1,
    },
    (
        "image_encoder.features.*",
        "image_encoder.layers.*",
        "image_encoder.patch_embed.*",
        "image_encoder.neck.*",
        "prompt_encoder.[!m]*",  # all but mask_downscaling
        "mask_decoder.*",
    ),
)

TEXT = (
    "token_embedding.*",
    "transformer.*",
    "positional_embedding",
    "text_projection",
    "ln_final.*",
    "logit_*",
)

CUTS = {
    "swin": Cut(
        {
            "input_resized_rgb": 4,
            "feat_res2": 4,
            "feat_res3": 2,
            "text_features_with_non_object": 1,
            **MASKS,
            **CROPS,
        },
        (
            "backbone.patch_embed.*",
            "backbone.layers.[01].*",
            "backbone.norm[01].*",
            "clip_adapter.*",
        ),
    ),
    "r101c": Cut(
        {
            "input_resized_rgb": 4,
            "feat_res2": 4,
            "feat_res3": 2,
            "feat_res[45]": 2,
            "mask_features": 4,
            "query_mask_logits": 2,
            "query_class_embedding": 1,
            "query_class_logits": 1,
            "text_features_with_non_object": 1,
            "region_features": 1,
            "demo_sem_seg": 4,
            "eval_ensemble0.7_sem_seg": 4,
            **MASKS,
        },
        ("backbone.*", "sem_seg_head.*", "clip_adapter.non_object_embedding"),
    ),
    "simseg": Cut(
        {"text_features_*": 1},
        (
            "clip_adapter.non_object_embedding",
            "clip_adapter.prompt_learner.*",
            "clip_adapter.clip_model.token_embedding.*",
            "clip_adapter.clip_model.transformer.*",
            "clip_adapter.clip_model.positional_embedding",
            "clip_adapter.clip_model.text_projection",
            "clip_adapter.clip_model.ln_final.*",
            "clip_adapter.clip_model.logit_scale",
        ),
    ),
    "sam_demo": Cut({"first_four_regions_normalised": 8, "*": 1}),
    "mobile_sam": SAM,
    "repvit_sam": SAM,
    "text_region": Cut(
        {
            "masks_packed": 1,
            "text_features": 1,
            "native_values": 2,
            "native_raw_values_pixel_probabilities_every8": 4,
            "native_*": 1,
        },
        ("visual.*",),
    ),
    "maskclippp": Cut(
        {"padded_input_every8": 8, "input_resized_rgb": 8, "*": 1},
        ("visual_encoder.*", "psm.*", *TEXT, "visual.*"),
        weights=("checkpoint.pth", "open_clip_model.safetensors"),
    ),
    "open_clip_timm": Cut(
        {"token_ids": 1, "text_features*": 1, "image_features": 1, "logits": 1, "probabilities": 1},
        ("text.*", "logit_*"),
        weights=("open_clip_model.safetensors",),
        extra=("open_clip_config.json", "tokenizer.json", "tokenizer_config.json"),
    ),
}


def cut_kit(source: Path, target: Path, cut: Cut) -> None:
    """Write the small kit of the large kit in ``source`` to the folder ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "config.json", target / "config.json")
    with np.load(source / "reference_outputs.npz") as arrays:
        np.savez_compressed(target / "reference_outputs.npz", **_thinned(dict(arrays), cut.arrays))
    for name in cut.extra:
        shutil.copyfile(source / name, target / name)
    if cut.tensors:
        names = json.loads((source / "config.json").read_text()).get("class_names", [])
        for weights in cut.weights:
            packed = lzma.compress(_cut_weights(source / weights, cut.tensors, names), filters=XZ)
            (target / f"{weights}.xz").write_bytes(packed)


def _cut_weights(path: Path, patterns: Sequence[str], class_names: list[str]) -> bytes:
    """The bytes of a weights file of the same format in which tensors that are not kept are zero."""
    is_safetensors = path.suffix == ".safetensors"
    content = load_file(path) if is_safetensors else torch.load(path, map_location="cpu", weights_only=True)
    is_wrapped = "model" in content
    tensors = dict(content["model"] if is_wrapped else content)
    for name, tensor in tensors.items():
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            tensors[name] = torch.zeros_like(tensor)
        elif name in TOKENS:
            tensors[name] = _kept_rows(tensor, [name for entry in class_names for name in entry.split(", ")])
    if is_safetensors:
        return save(tensors)
    buffer = io.BytesIO()
    torch.save({"model": tensors} if is_wrapped else tensors, buffer)
    return buffer.getvalue()


def _thinned(arrays: Mapping[str, np.ndarray], strides: Mapping[str, int]) -> dict[str, np.ndarray]:
    kept = {}
    for name, array in arrays.items():
        stride = next((stride for pattern, stride in strides.items() if fnmatchcase(name, pattern)), None)
        if stride == 1:
            kept[name] = array
        elif stride is not None:
            kept[f"{name}_every{stride}"] = thin(array, stride)
    return kept


def _kept_rows(tokens: torch.Tensor, class_names: list[str]) -> torch.Tensor:
    """The token embeddings with only the rows that texts about the kit's class names read."""
    tokenizer = Tokenizer(len(tokens), 77)
    templates = ["{}", "{}.", *(text for texts in TEMPLATES.values() for text in texts)]
    texts = [template.format(name) for name in [*class_names, OTHERS] for template in templates]
    rows = sorted({0, tokenizer.start, tokenizer.end, *(i for text in texts for i in tokenizer.encode(text))})
    kept = torch.zeros_like(tokens)
    kept[rows] = tokens[rows]
    return kept


if __name__ == "__main__":
    large, small = Path(sys.argv[1]), Path(sys.argv[2])
    for name in sys.argv[3:] or CUTS:
        cut_kit(large / name, small / name, CUTS[name])
    shutil.copyfile(large / "photo.png", small / "photo.png")
