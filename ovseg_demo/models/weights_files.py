"""Weights files: their names, sources and places on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ovseg_demo.errors import ModelError
from ovseg_demo.models.kinds import CheckpointKind
from ovseg_demo.runtime.resources import bundled, cache_folder, is_installed

BUNDLED_WEIGHTS = bundled("weights")
"""The folder of the weights that come with the program."""


def weights_folder() -> Path:
    """Return the folder of downloaded weights.

    It is ``OVSEG_WEIGHTS_DIR``, or else ``weights/downloaded`` in a checkout and ``weights`` in
    :func:`~ovseg_demo.runtime.resources.cache_folder` where the program is installed.
    """
    chosen = os.environ.get("OVSEG_WEIGHTS_DIR")
    if chosen:
        return Path(chosen).expanduser()
    return cache_folder() / "weights" if is_installed() else BUNDLED_WEIGHTS / "downloaded"


@dataclass(frozen=True)
class UrlSource:
    """A plain file on a web server."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class HuggingFaceSource:
    """A file in a repository on the Hugging Face Hub; ``repo_type`` is "model", "space" or "dataset"."""

    repo_id: str
    filename: str
    repo_type: str = "model"
    revision: str = "main"

    def __str__(self) -> str:
        folder = "" if self.repo_type == "model" else f"{self.repo_type}s/"
        return f"https://huggingface.co/{folder}{self.repo_id}/blob/{self.revision}/{self.filename}"


@dataclass(frozen=True)
class GoogleDriveSource:
    """A file that is shared on Google Drive."""

    file_id: str

    def __str__(self) -> str:
        return f"https://drive.google.com/file/d/{self.file_id}/view"


@dataclass(frozen=True)
class BundledSource:
    """A file that comes with the program; ``path`` is relative to :data:`BUNDLED_WEIGHTS`."""

    path: str

    def __str__(self) -> str:
        return f"weights/{self.path}"


Source = UrlSource | HuggingFaceSource | GoogleDriveSource | BundledSource


@dataclass(frozen=True)
class WeightsFile:
    """A weights file: its name, its sources, and what is known of its content.

    Attributes:
        name: of the file on the disk.
        kind: of the model in it.
        sources: in order of preference; all of them deliver the same bytes.
        size: in bytes; an estimate unless ``size_is_exact``; 0 if unknown.
        licence: of the weights, as users read it.
        sha256: the file's SHA-256 or its first digits, lower-case hexadecimal; empty if unknown.
        md5: the file's MD5 or its first digits, likewise.
        quick_gelu: whether the CLIP in it was trained with QuickGELU; the tensors do not show it.
        architecture: "NAME/TAG" in open_clip's registry, for a CLIP whose tensors do not tell its sizes.
        tokenizer: a second file, without which the CLIP cannot read class names.
    """

    name: str
    kind: CheckpointKind
    sources: tuple[Source, ...]
    size: int
    licence: str
    size_is_exact: bool = False
    sha256: str = ""
    md5: str = ""
    quick_gelu: bool = True
    architecture: str = ""
    tokenizer: WeightsFile | None = None

    def path(self, folder: Path | None = None) -> Path:
        """Return the file's path, which for a download is in ``folder``."""
        for source in self.sources:
            if isinstance(source, BundledSource):
                return BUNDLED_WEIGHTS / source.path
        return (folder or weights_folder()) / self.name

    def present(self, folder: Path | None = None) -> bool:
        """Return whether the file exists, and its tokenizer if it needs one."""
        has_tokenizer = self.tokenizer is None or self.tokenizer.present(folder)
        return has_tokenizer and self.path(folder).is_file()

    @property
    def bundled(self) -> bool:
        """Whether the file comes with the program."""
        return any(isinstance(source, BundledSource) for source in self.sources)


OPEN_CLIP_PREFIX = "open_clip:"
"""Begins the name of a model of open_clip's registry: "open_clip:NAME/TAG"."""


def find_open_clip(text: str) -> WeightsFile:
    """Return the weights file of "open_clip:NAME/TAG".

    Raises:
        ModelError: the tag is missing, or open_clip has no such model or no such weights of it.
    """
    name, slash, tag = text.removeprefix(OPEN_CLIP_PREFIX).partition("/")
    if not slash:
        raise ModelError(f'"{text}" has no tag; write "{OPEN_CLIP_PREFIX}NAME/TAG".')
    return open_clip_weights(name, tag)


def open_clip_weights(name: str, pretrained: str) -> WeightsFile:
    """Return the weights file of a pretrained model of open_clip.

    Args:
        name: of the model, such as "ViT-B-16-quickgelu".
        pretrained: of its weights, such as "openai".

    Raises:
        ModelError: open_clip has no such model, or no such weights of it.
    """
    import open_clip  # takes seconds to import, and the catalogue does not need it
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME

    config = open_clip.get_pretrained_cfg(name, pretrained)
    if not config:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        known = f'of "{name}" it has {tags}' if tags else "open_clip.list_models() lists its models"
        raise ModelError(f'open_clip has no weights "{pretrained}" of a model "{name}"; {known}.')
    url = config.get("url", "")
    if url:
        source, suffix = UrlSource(url), Path(url).suffix
    else:
        repo_id, _, filename = config["hf_hub"].rpartition("/")
        source, suffix = HuggingFaceSource(repo_id, filename or HF_SAFE_WEIGHTS_NAME), ".safetensors"
    stem, licence = f"{name}-{pretrained}", "see its publisher"
    model = open_clip.get_model_config(name)
    return WeightsFile(
        f"{stem}{suffix}",
        CheckpointKind.CLIP,
        (source,),
        size=0,
        licence=licence,
        sha256=Path(url).parent.name if "openaipublic" in url else "",
        quick_gelu=bool(config.get("quick_gelu", model.get("quick_gelu"))),  # first that of the weights
        architecture="" if pretrained == "openai" else f"{name}/{pretrained}",
        tokenizer=_tokenizer(model.get("text_cfg", {}).get("hf_tokenizer_name"), stem, licence),
    )


def _tokenizer(repo_id: str | None, stem: str, licence: str) -> WeightsFile | None:
    if not repo_id:
        return None
    source = HuggingFaceSource(repo_id, "tokenizer.json")
    return WeightsFile(f"{stem}-tokenizer.json", CheckpointKind.TOKENIZER, (source,), 0, licence)


def format_size(size: int) -> str:
    """Return a number of bytes as text, such as "2.6 GB"; 0 stands for an unknown size."""
    if not size:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
