"""Stage 2, put together: a CLIP in open_clip's folder layout from trunk, adapted head and text tower."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from timm.layers import Mlp
from torch import Tensor

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.photos import STUFF_NAMES, held_out
from ovseg_demo.models.clip_sources import CONFIG_FILE
from ovseg_demo.training.photos.naming import Labelled, NamingSettings, adapt, start_head
from ovseg_demo.training.photos.nouns import Hypernyms, shipped_names
from ovseg_demo.training.photos.region_features import RegionFeatures
from ovseg_demo.training.photos.sources import CAMVID_NAMES, read_ccp, read_coco_names, read_imagenet_sample
from ovseg_demo.training.photos.text_tower import (
    TextSettings,
    embed_names,
    load_text,
    read_text,
    text_clip,
)
from ovseg_demo.training.photos.trunks import load_classifier

TRUNK = "tf_efficientnet_lite2"
WEIGHTS_FILE = "open_clip_model.safetensors"

LOGIT_SCALE = 40.0
"""By which cosines are multiplied before the softmax over names; not tuned."""

_TOO_WIDE = frozenset((
    "animal", "animate being", "object", "structure", "building", "edifice", "shelter", "thing", "plant",
    "food", "fruit", "vegetable", "device", "machine", "vehicle", "wheeled vehicle", "container", "covering",
    "instrument", "musical instrument", "tool", "equipment", "item", "system", "artifact", "furniture",
    "fabric", "cloth", "clothing", "garment", "implement", "mechanism", "fixture", "product", "apparatus",
    "material", "drug", "gear", "person",
))  # fmt: skip
"""Names that say too little about an ImageNet class to be asked for."""

_UNCLEAR_STAMPS = frozenset(["letter", "sign", "pair", "dead", "tux", "blue", "number", "flag"])
_MOST_STAMPS = 4
"""A noun with more stamps than this is a series of variants, such as road signs."""

_TEMPLATES = ("a photo of a {}.",)
"""Of the names in training; the text tower gives all templates about the same embedding."""

Embed = Callable[[Sequence[str]], Tensor]


def train(
    root: Path,
    features: Path,
    text: Path,
    weights: Path,
    wordnet: Path,
    folder: Path,
    *,
    text_settings: TextSettings,
    settings: NamingSettings,
    hold_out: bool = False,
    adapted: bool = True,
) -> Path:
    """Adapt the image head to the labelled regions and write the CLIP; returns its folder.

    Args:
        root: folder of labelled photographs.
        features: folder with the regions' features, from stage "features".
        text: file with the text tower's weights, from stage "text".
        weights: file with the trunk's ImageNet weights.
        wordnet: folder of WordNet's files.
        folder: to write.
        text_settings: the text tower's sizes.
        settings: of the adaptation.
        hold_out: leave out the labels of every second COCO class, to measure unseen ones.
        adapted: ``False`` writes the untrained start, for comparison.

    Raises:
        CheckpointError: a file of weights is missing, cannot be read, or is another network's.
        DatasetError: photographs or features are missing.
    """
    tower = text_clip(text_settings)
    load_text(tower, read_text(text))
    tower.float().eval()
    tokenizer = Tokenizer(text_settings.vocabulary_size, text_settings.context_length)

    def embed(names: Sequence[str]) -> Tensor:
        return embed_names(tower, tokenizer, names, _TEMPLATES)

    network = load_classifier(TRUNK, weights)
    classifier = (network.classifier.weight.detach(), network.classifier.bias.detach())
    imagenet = embed([photograph.name for photograph in read_imagenet_sample(root)])
    head = start_head(classifier, imagenet, text_settings.embed_dim)
    if adapted:
        unseen = held_out_names(root) if hold_out else set()
        sources = labelled_sources(root, features, wordnet, classifier, embed, unseen)
        head = adapt(head, sources, settings)
    return write_folder(folder, network, head, tower, text_settings)


def held_out_names(root: Path) -> set[str]:
    """Return the 40 of COCO's names that a training with ``hold_out`` never uses."""
    names = read_coco_names(root)
    return {name for name, out in zip(names, held_out(names), strict=True) if out}


def labelled_sources(
    root: Path,
    features: Path,
    wordnet: Path,
    classifier: tuple[Tensor, Tensor],
    embed: Embed,
    unseen: set[str],
) -> dict[str, Labelled]:
    """Return all sources of :class:`.naming.NamingSettings`'s ``shares`` of which there are features.

    Raises:
        DatasetError: there are none.
    """
    regions = {path.stem: RegionFeatures.load(path) for path in sorted(features.glob("*.npz"))}
    if not regions:
        raise DatasetError(
            f'There are no features of regions in {features}; make them with the stage "features", or name '
            "their folder with --features."
        )
    photographs = read_imagenet_sample(root)
    names: dict[str, list[str]] = {
        "coco": [name for name in read_coco_names(root) if name not in unseen],
        "camvid": list(CAMVID_NAMES),
        "ccp": [name for name in read_ccp(root)[0].label_names if name],
    }
    if "bsds500" in regions:
        names["bsds500"] = sorted({*regions["bsds500"].names.tolist()} - unseen)
        # Stuff and things are asked for together, so each learns not to be the other.
        things = names["coco"]
        names["coco"] = [*things, *(name for name in STUFF_NAMES if name not in things)]
        names["bsds500"] += [name for name in things if name not in names["bsds500"]]
    if "stamps" in regions:
        names["stamps"] = [
            noun for noun in _clear_nouns(regions["stamps"].names) if not _names_any(noun, unseen)
        ]
    kinds = _kinds(photographs, Hypernyms(wordnet), set(shipped_names()) - _TOO_WIDE - unseen)
    if "imagenet" in regions:
        own = regions["imagenet"]
        regions["kinds"] = replace(own, names=np.array([kinds.get(image, "") for image in own.images]))
        names["kinds"] = sorted(set(kinds.values()))
    found = {
        source: Labelled.of_names(regions[source], vocabulary, embed(vocabulary))
        for source, vocabulary in names.items()
        if source in regions
    }
    if "imagenet" in regions:
        texts = embed([photograph.name for photograph in photographs])
        found["imagenet"] = Labelled.of_probabilities(regions["imagenet"], classifier, texts)
    return found


def _kinds(photographs: Sequence, hypernyms: Hypernyms, names: set[str]) -> dict[str, str]:
    """Return the everyday word that each of ImageNet's photographs shows, by file name; some show none."""
    found = {p.path.name: hypernyms.nearest(p.path.name[1:9], names) for p in photographs}
    return {path: name for path, name in found.items() if name}


def _clear_nouns(nouns: np.ndarray) -> list[str]:
    counts = Counter(nouns.tolist())
    return sorted(
        n for n, count in counts.items() if count <= _MOST_STAMPS and not _names_any(n, _UNCLEAR_STAMPS)
    )


def _names_any(noun: str, words: set[str] | frozenset[str]) -> bool:
    return noun in words or not words.isdisjoint(noun.split())


def write_folder(
    folder: Path, network: torch.nn.Module, head: Mlp, tower: CLIP, text_settings: TextSettings
) -> Path:
    """Write ``open_clip_config.json`` and ``open_clip_model.safetensors``, in half precision."""
    tensors: dict[str, Tensor] = {
        f"visual.trunk.{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("classifier.")
    }
    tensors |= {f"visual.head.mlp.{name}": tensor for name, tensor in head.state_dict().items()}
    tensors |= {
        name: tensor
        for name, tensor in tower.state_dict().items()
        if not name.startswith("visual.") and name not in ("attn_mask", "logit_scale")
    }
    tensors["logit_scale"] = torch.tensor(LOGIT_SCALE).log()
    tensors = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / CONFIG_FILE).write_text(json.dumps(_config(text_settings), indent=2) + "\n")
    return folder


def _config(text: TextSettings) -> dict:
    return {
        "model_cfg": {
            "embed_dim": text.embed_dim,
            "vision_cfg": {
                "image_size": 224,
                "timm_model_name": TRUNK,
                "timm_model_pretrained": False,
                "timm_pool": "avg",
                "timm_proj": "mlp",
            },
            "text_cfg": {
                "context_length": text.context_length,
                "vocab_size": text.vocabulary_size,
                "width": text.width,
                "heads": text.heads,
                "layers": text.layers,
            },
        },
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }
