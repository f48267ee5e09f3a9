"""A CLIP whose image tower is a classifier of timm, from a folder of open_clip's layout, by mask pooling.

For training and measuring. The program itself reads such folders with its region classifier for open_clip
models.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import load_file

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.proposals.sam.encoders.timm_cnn import fold_batch_norms
from ovseg_demo.training.photos.region_features import LONG_SIDE, STRIDE, pool
from ovseg_demo.training.photos.text_tower import embed_names
from ovseg_demo.vocabulary import TEMPLATES

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"


class PooledClip:
    """Embeds names, and the regions of an image by one forward of it.

    Args:
        clip: with a timm tower that has ``forward_features``.
        mean, std: of pixels from 0 to 1.
    """

    def __init__(self, clip: CLIP, mean: Sequence[float], std: Sequence[float]):
        self.clip = clip.float().eval()
        fold_batch_norms(self.clip.visual.trunk)
        self.clip.visual.trunk.to(memory_format=torch.channels_last)
        size, context = self.clip.token_embedding.num_embeddings, self.clip.positional_embedding.shape[0]
        self.tokenizer = Tokenizer(size, context)
        self._mean, self._std = (255 * np.float32(values) for values in (mean, std))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder with ``open_clip_config.json`` and ``open_clip_model.safetensors``."""
        config = json.loads((Path(folder) / CONFIG_FILE).read_text())
        clip = CLIP(**config["model_cfg"])
        clip.load_state_dict(load_file(Path(folder) / WEIGHTS_FILE))
        pixels = config["preprocess_cfg"]
        return cls(clip, pixels["mean"], pixels["std"])

    def embed_names(self, names: Sequence[str], templates: Sequence[str] = TEMPLATES["vild"]) -> np.ndarray:
        """Normalized text embeddings: float32 (K, D)."""
        return embed_names(self.clip, self.tokenizer, names, templates).numpy()

    @torch.inference_mode()
    def embed_regions(
        self, image: np.ndarray, masks: Sequence[np.ndarray], long_side: int = LONG_SIDE
    ) -> np.ndarray:
        """Normalized embeddings (N, D), float32, of bool masks (H, W) of an RGB uint8 image (H, W, 3)."""
        scale = long_side / max(image.shape[:2])
        rows, columns = (max(1, round(side * scale / STRIDE)) for side in image.shape[:2])
        size = (columns * STRIDE, rows * STRIDE)
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
        pixels = torch.from_numpy((resized.astype(np.float32) - self._mean) / self._std)
        features = self.clip.visual.trunk.forward_features(
            pixels.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
        )[0]
        weights = [
            cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
            for mask in masks
        ]
        pooled = pool(features, torch.from_numpy(np.stack(weights)))
        return F.normalize(self.clip.visual.head(pooled), dim=-1).numpy()
