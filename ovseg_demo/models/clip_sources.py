"""Read what a CLIP is built from: a weights file, a folder of open_clip, or a model of its registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ovseg_demo.classification.clip.source import ClipSource
from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.models.kinds import CheckpointKind

CONFIG_FILE = "open_clip_config.json"
TOKENIZER_FILE = "tokenizer.json"

_WEIGHTS_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
"""The names of weights in a folder, in the order in which open_clip looks for them."""

_SUFFIXES = (".safetensors", ".bin", ".pth")


def read_clip_source(path: Path, *, quick_gelu: bool | None = None, architecture: str = "") -> ClipSource:
    """Return the content of a CLIP's files.

    Args:
        path: a weights file, or a folder with weights and ``open_clip_config.json``. A weights file is read
            with the configuration and the tokenizer that lie beside it, if they do.
        quick_gelu: whether the CLIP was trained with QuickGELU; ``None`` takes what its configuration says,
            and ``True`` where there is none.
        architecture: the name of a model in open_clip's registry whose configuration the file has, with the
            tag of its weights: "NAME/TAG".

    Raises:
        CheckpointError: a file is missing, damaged or of another kind.
    """
    files = find_clip_files(path, architecture)
    tensors = read_checkpoint(files.weights, CheckpointKind.CLIP).clip()
    if architecture:
        model, preprocessing = registry_config(architecture)
    elif files.config is not None:
        config = _read_config(files.config)
        model, preprocessing = config["model_cfg"], config.get("preprocess_cfg") or {}
    else:
        _refuse_without_config(files.weights, tensors)
        return ClipSource(tensors, quick_gelu=quick_gelu is None or quick_gelu)
    # Always there, so that equal CLIPs are equal, whoever told their activation.
    model = {**model, "quick_gelu": bool(model.get("quick_gelu") if quick_gelu is None else quick_gelu)}
    return ClipSource(tensors, model, preprocessing, files.tokenizer)


class ClipFiles(NamedTuple):
    """The files that a CLIP is read from; ``None`` stands for one that it does not have."""

    weights: Path
    config: Path | None = None
    tokenizer: Path | None = None


def find_clip_files(path: Path, architecture: str = "") -> ClipFiles:
    """Return the files that :func:`read_clip_source` reads with these arguments.

    Raises:
        CheckpointError: a folder has no configuration or no weights.
    """
    weights = _find_weights(path) if path.is_dir() else path
    if architecture:
        config, tokenizer = None, weights.with_name(f"{weights.stem}-{TOKENIZER_FILE}")
    else:
        config, tokenizer = weights.parent / CONFIG_FILE, weights.parent / TOKENIZER_FILE
        if not config.is_file():
            return ClipFiles(weights)
    return ClipFiles(weights, config, tokenizer if tokenizer.is_file() else None)


def registry_config(architecture: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return ``model_cfg`` and ``preprocess_cfg`` of "NAME/TAG" in open_clip's registry, which is offline."""
    import open_clip  # takes seconds to import

    name, _, tag = architecture.partition("/")
    return open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, tag)


def _find_weights(folder: Path) -> Path:
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f'"{folder}" is a folder without "{CONFIG_FILE}"; give a folder in open_clip\'s layout, or the '
            "weights file inside it."
        )
    files = {file.name: file for file in sorted(folder.iterdir()) if file.suffix in _SUFFIXES}
    known = [name for name in _WEIGHTS_NAMES if name in files]
    others = sorted(files, key=lambda name: _SUFFIXES.index(files[name].suffix))
    if not files:
        raise CheckpointError(f'"{folder}" has no weights; put "{_WEIGHTS_NAMES[0]}" beside "{CONFIG_FILE}".')
    return files[(known or others)[0]]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f'"{path}" cannot be read ({error}); download it again.') from error
    if not isinstance(config, dict) or not isinstance(config.get("model_cfg"), dict):
        raise CheckpointError(f'"{path}" has no "model_cfg"; download it again.')
    pixels = config.get("preprocess_cfg") or {}
    if not isinstance(pixels, dict):
        raise CheckpointError(f'"preprocess_cfg" in "{path}" is not a table; download it again.')
    if any(not _is_color(pixels[name]) for name in ("mean", "std") if pixels.get(name) is not None):
        raise CheckpointError(f'"mean" and "std" in "{path}" must be three numbers each; download it again.')
    return config


def _is_color(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(x, int | float) for x in value)


def _refuse_without_config(path: Path, tensors: Mapping[str, Any]) -> None:
    """Refuse a CLIP whose tensors do not tell its sizes."""
    is_convnext = "visual.trunk.stem.0.weight" in tensors and "token_embedding.weight" in tensors
    needs_config = any(name.startswith(("visual.trunk.", "text.")) for name in tensors)
    if needs_config and not is_convnext:
        raise CheckpointError(
            f'"{path}" is a CLIP whose tensors do not tell its sizes; put its "{CONFIG_FILE}" beside it, in '
            "the same folder."
        )
