"""Weights files of published size with seeded random values, read and built as the program does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.cases import random_clip, random_image
from benchmarks.sam import VIT_B, Case, random_sam
from benchmarks.sam_encoders import ENCODERS
from ovseg_demo.classification.building import build_classifier
from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.models.clip_sources import CONFIG_FILE, read_clip_source
from ovseg_demo.proposals.sam.encoders.registry import PREFIX
from ovseg_demo.proposals.sam.generator import SamConfig, VitConfig
from ovseg_demo.runtime.devices import Runtime

IMAGE_SIZE = (768, 1024)


def _vit(embed_dim: int, depth: int, heads: int, global_attention: tuple[int, ...]) -> SamConfig:
    return SamConfig(VitConfig(1024, 16, embed_dim, depth, heads, 4 * embed_dim, 14, global_attention))


SAMS: Mapping[str, SamConfig] = {
    "SAM ViT-H": _vit(1280, 32, 16, (7, 15, 23, 31)),
    "SAM ViT-L": _vit(1024, 24, 16, (5, 11, 17, 23)),
    "SAM ViT-B": VIT_B,
    "MobileSAM": SamConfig(encoder=ENCODERS["MobileSAM"]),
    "RepViT-SAM": SamConfig(encoder=ENCODERS["RepViT-SAM"]),
}
"""Segment Anything's networks by the name of their encoder."""
SHAPES = Path(__file__).parents[1] / "tests" / "data"
PUBLISHED = {"MobileSAM": "mobile_sam.shapes.txt", "RepViT-SAM": "repvit_sam.shapes.txt"}
"""Lists of the published files' tensors, where the network names them in another way."""


def save_sam(name: str, folder: Path) -> Path:
    """Write a network of :data:`SAMS` unless it is there, and the thresholds that it needs beside it."""
    path = folder / f"{name}.pth"
    if not path.exists():
        sam = random_sam(SAMS[name])
        case = Case(name, sam, random_image(*IMAGE_SIZE))
        case.save(path, _published(name, sam.state_dict()) if name in PUBLISHED else None)
    return path


def _published(name: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's tensors under their names in the published file, and zeros for its others."""
    tensors = {}
    for line in (SHAPES / PUBLISHED[name]).read_text().splitlines():
        tensor, *sizes = line.split()
        ours = tensor
        if tensor.startswith(PREFIX):
            ours = PREFIX + str(SAMS[name].encoder.module_name(tensor.removeprefix(PREFIX)))
        tensors[tensor] = own[ours] if ours in own else torch.zeros([int(size) for size in sizes])
    return tensors


def save_clip(name: str, folder: Path) -> Path:
    """Write a CLIP of open_clip's registry: a ViT in OpenAI's format, with mask prompts, else a folder."""
    config = open_clip.get_model_config(name)
    if "timm_model_name" not in config["vision_cfg"]:
        path = folder / f"{name}.pth"
        if not path.exists():
            torch.save(random_clip(name), path)
        return path
    path = folder / name
    if not path.exists():
        path.mkdir()
        torch.manual_seed(0)
        save_file(CLIP(**open_clip.get_model_config(name)).state_dict(), path / "open_clip_model.safetensors")
        (path / CONFIG_FILE).write_text(json.dumps({"model_cfg": config}))
    return path


def load_clip(path: Path, regions: str, runtime: Runtime) -> RegionClassifier:
    """Return the classifier of a file or folder of :func:`save_clip`."""
    return build_classifier(read_clip_source(path), runtime, regions)
