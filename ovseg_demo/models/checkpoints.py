"""Read weights files without running code, recognise their kind, and rename their tensors uniformly.

The formats are ``torch.save`` files (opened with ``weights_only=True``), safetensors, and TorchScript
archives. A file contains a full OVSeg or SimSeg model, a CLIP, or a Segment Anything model: the tensors'
names tell which (``docs/explanation/method.md``). The networks' builders read sizes off the tensors' shapes.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import safetensors.torch
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.kinds import CheckpointKind
from ovseg_demo.models.shared_tensors import SharedTensors
from ovseg_demo.models.torchscript import is_torchscript, read_torchscript
from ovseg_demo.runtime.tensors import tensors_below

IGNORED = {
    "criterion.*": "weights of the training loss",
    "*pixel_mean": "a constant of the method",
    "*pixel_std": "a constant of the method",
    "*.relative_position_index": "follows from the window size",
    "*attn_mask": "follows from the sizes of the map, or of the text",
    "*.num_batches_tracked": "the batch norms are frozen",
    "*prompt_learner.start_signal": "a copy of a token embedding",
    "*prompt_learner.dot_signal": "a copy of a token embedding",
    "*prompt_learner.end_signal": "a copy of a token embedding",
    "*prompt_learner.pad_signal": "a copy of a token embedding",
    "input_resolution": "a size that OpenAI's archives spell out",
    "context_length": "a size that OpenAI's archives spell out",
    "vocab_size": "a size that OpenAI's archives spell out",
}
"""Patterns of the names of tensors that no network needs, each with the reason."""

_OPTIONS = {
    CheckpointKind.OVSEG: "ovseg",
    CheckpointKind.CLIP: "clip",
    CheckpointKind.SAM: "sam",
    CheckpointKind.MASKCLIPPP: "maskclippp",
}

_TUNED_PREFIXES = {"visual_encoder.proxy.": "visual.", "text_encoder.": ""}
"""What MaskCLIP++ fine-tuned, and where open_clip has it."""
_CONSISTENCY_PREFIX = "psm."

_CLIP_PREFIX = "clip_adapter.clip_model."
_PROMPTS_PREFIX = "clip_adapter.prompt_learner."
_NON_OBJECT = "clip_adapter.non_object_embedding"
_OVSEG_PREFIXES = ("backbone.", "sem_seg_head.", _CLIP_PREFIX, _PROMPTS_PREFIX, _NON_OBJECT)

_WRAPPERS = ("model", "state_dict")
_NAME_PREFIXES = ("module.", "model.", "_orig_mod.")
# MaskFormer's first releases kept the pixel decoder's layers directly in the head.
_OLD_PIXEL_DECODER = re.compile(r"^sem_seg_head\.(?!pixel_decoder\.|predictor\.)")

_FOREIGN = {
    "sam_mask_decoder.": "a SAM 2 checkpoint",
    "vision_encoder.": "a Segment Anything checkpoint in the format of Hugging Face transformers",
    "text_model.": "a CLIP in the format of Hugging Face transformers",
    "text.": "the text tower of a CLIP without its image tower",
    "visual.": "the image tower of a CLIP without its text tower",
    "roi_heads.": "a detectron2 box detector",
    "backbone.": "a backbone or a detector, without MaskFormer's head",
}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a weights file.

    Attributes:
        path: of the file, for messages.
        kind: of the model in it.
        tensors: all tensors by name, on the CPU, in the stored precision. Prefixes of wrappers are removed
            and old names are replaced. The tensors may be memory-mapped, so the file must stay in place.
    """

    path: Path
    kind: CheckpointKind
    tensors: dict[str, torch.Tensor]

    @property
    def has_learned_prompts(self) -> bool:
        """Whether the file holds SimSeg's learned prompts."""
        return any(
            name.endswith(("prompt_learner.prefix_prompt", "prompt_learner.suffix_prompt"))
            for name in self.tensors
        )

    def clip(self) -> dict[str, torch.Tensor]:
        """Return the CLIP under OpenAI's or open_clip's names: ``visual.conv1.weight``, ….

        Mask prompts are ``visual.mask_embedding`` (D, G², C); SimSeg's learned prompts are
        ``prompt_learner.prefix_prompt`` (P, C) and ``prompt_learner.suffix_prompt`` (S, C).

        Raises:
            CheckpointError: the file holds no CLIP.
        """
        if self.kind is CheckpointKind.CLIP:
            return _without_ignored(self.tensors)
        tensors = tensors_below(self.tensors, _CLIP_PREFIX)
        if not tensors:
            found = "a MaskFormer without a CLIP" if self.kind is CheckpointKind.OVSEG else self.kind
            raise CheckpointError(_mixed_up(self.path, found, CheckpointKind.CLIP))
        prompts = tensors_below(self.tensors, _PROMPTS_PREFIX)
        return _without_ignored(
            tensors | {f"prompt_learner.{name}": tensor for name, tensor in prompts.items()}
        )

    def maskformer(self) -> dict[str, torch.Tensor]:
        """Return the MaskFormer: ``backbone.*``, ``sem_seg_head.*`` and ``non_object_embedding`` (1, D).

        Raises:
            CheckpointError: the file holds no MaskFormer with open-vocabulary classes.
        """
        if self.kind is not CheckpointKind.OVSEG:
            raise CheckpointError(_mixed_up(self.path, self.kind, CheckpointKind.OVSEG))
        if _NON_OBJECT not in self.tensors:
            found = "a MaskFormer with a fixed list of classes"
            raise CheckpointError(_mixed_up(self.path, found, CheckpointKind.OVSEG))
        parts = {
            name: tensor
            for name, tensor in self.tensors.items()
            if name.startswith(("backbone.", "sem_seg_head."))
        }
        return _without_ignored(parts) | {"non_object_embedding": self.tensors[_NON_OBJECT]}

    def maskclippp(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Return MaskCLIP++'s fine-tuned towers under open_clip's names, and its consistency module.

        Raises:
            CheckpointError: the file holds something else.
        """
        if self.kind is not CheckpointKind.MASKCLIPPP:
            raise CheckpointError(_mixed_up(self.path, self.kind, CheckpointKind.MASKCLIPPP))
        tensors = _without_ignored(self.tensors)
        tuned = {
            new + name: tensor
            for old, new in _TUNED_PREFIXES.items()
            for name, tensor in tensors_below(tensors, old).items()
        }
        return tuned, tensors_below(tensors, _CONSISTENCY_PREFIX)

    def sam(self) -> dict[str, torch.Tensor]:
        """Return the Segment Anything tensors: ``prompt_encoder.*`` and ``mask_decoder.*`` as in the package.

        ``image_encoder.*`` has the names of the model that it came from: segment-anything's own, MobileSAM's,
        RepViT-SAM's or EfficientViT-SAM's.

        Raises:
            CheckpointError: the file holds something else.
        """
        if self.kind is not CheckpointKind.SAM:
            raise CheckpointError(_mixed_up(self.path, self.kind, CheckpointKind.SAM))
        return _without_ignored(self.tensors)


def read_checkpoint(path: str | Path, expect: CheckpointKind | None = None) -> Checkpoint:
    """Read a weights file without running code from it.

    Tensors that the file takes from another one (:mod:`.shared_tensors`) are read from there.

    Args:
        path: a ``torch.save`` file, a safetensors file or a TorchScript archive.
        expect: the required kind. A full OVSeg file is also accepted as a CLIP, since it contains one.

    Raises:
        CheckpointError: the file is missing, cut off, damaged, not a weights file or not of the required
            kind; it contains tensors that its kind does not have, or objects that could run code.
    """
    path = Path(path).expanduser()
    tensors = read_tensors(path)
    kind = _recognise(path, tensors, expect)
    if kind is CheckpointKind.OVSEG:
        _refuse_unknown_tensors(path, tensors)
    serves = {kind, CheckpointKind.CLIP} if kind is CheckpointKind.OVSEG else {kind}
    if expect is not None and expect not in serves:
        raise CheckpointError(_mixed_up(path, kind, expect))
    return Checkpoint(path, kind, tensors)


# ---- the file


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file of any network, and those that it takes from files beside it.

    Raises:
        CheckpointError: the file is missing, cut off, damaged or not a weights file, or holds objects that
            could run code.
    """
    _refuse_what_is_no_weights_file(path)
    content = _read(path)
    tensors = _canonical(_unwrap(path, content))
    for group in SharedTensors.read(path, content):
        other = path.with_name(group.file)
        if not other.is_file():
            raise CheckpointError(
                f'"{path}" needs "{other}", which does not exist; put both files into one folder.'
            )
        _refuse_what_is_no_weights_file(other)
        shared = group.take(path, _canonical(_unwrap(other, _read(other))))
        tensors = shared | tensors
    return tensors


def _refuse_what_is_no_weights_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise CheckpointError(
            f'There is no weights file "{path}"; check the path, or download a model first.'
        ) from None
    except IsADirectoryError:
        raise CheckpointError(f'"{path}" is a folder; give the weights file inside it.') from None
    except OSError as error:
        raise CheckpointError(f'"{path}" cannot be read ({error.strerror}); check its permissions.') from None
    complaint = _complaint(head)
    if complaint:
        raise CheckpointError(f'"{path}" is {complaint}, not a weights file; download it again.')


def _complaint(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    if not text:
        return "blank"
    if head.startswith(b"version https://git-lfs"):
        return 'a git-lfs pointer (run "git lfs pull" where it came from)'
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page (most likely the error message of a failed download)"
    if text.startswith(b"{"):
        return "a JSON text (most likely the error message of a failed download)"
    return None


def _read(path: Path) -> object:
    """Return the content of a file. The reader of each format reads data and runs no code."""
    try:
        if is_torchscript(path):
            return read_torchscript(path)
        if zipfile.is_zipfile(path):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if _is_safetensors(path):
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the readers raise many classes for damaged files
        raise CheckpointError(_unreadable(path, error)) from error


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def _unreadable(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(max(0, path.stat().st_size - 64))
        ending = file.read()
    if isinstance(error, pickle.UnpicklingError) and magic.startswith((b"PK", b"\x80")):
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = f'it holds "{named[1]}"' if named else "it is a Python pickle"
        return (
            f'"{path}" was refused: {found} where only tensors are expected, and opening it could '
            "run code on this machine; use a file of tensors alone, such as safetensors."
        )
    if magic == b"PK\x03\x04" and b"PK\x05\x06" not in ending:  # a zip file without its table of contents
        return f'"{path}" is cut off after {path.stat().st_size:,} bytes; download it again.'
    formats = "torch.save, safetensors or TorchScript"
    return f'"{path}" is damaged or not a weights file ({formats}); download it again.'


# ---- the names


def _unwrap(path: Path, content: object) -> dict[str, torch.Tensor]:
    """Return the tensors in ``{"model": …}`` or ``{"state_dict": …}``; empty if there are none.

    Raises:
        CheckpointError: a mapping contains itself.
    """
    seen: set[int] = set()
    while isinstance(content, Mapping):
        if id(content) in seen:
            raise CheckpointError(
                f'"{path}" has an entry that contains itself; save the weights of the network alone.'
            )
        seen.add(id(content))
        inside = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            return {
                str(name): value.detach()
                for name, value in content.items()
                if isinstance(value, torch.Tensor)
            }
        content = inside
    return {}


def _canonical(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Remove the prefixes of data-parallel training and compiling from all names; replace old names."""
    for prefix in _NAME_PREFIXES * 2:  # wrappers nest, in any order
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = tensors_below(tensors, prefix)
    return {
        _OLD_PIXEL_DECODER.sub("sem_seg_head.pixel_decoder.", name): tensor
        for name, tensor in tensors.items()
    }


def _recognise(path: Path, tensors: dict[str, torch.Tensor], expect: CheckpointKind | None) -> CheckpointKind:
    def holds(*prefixes: str) -> bool:
        return all(any(name.startswith(prefix) for name in tensors) for prefix in prefixes)

    if holds("backbone.", "sem_seg_head.predictor."):
        return CheckpointKind.OVSEG
    if holds("image_encoder.", "prompt_encoder.", "mask_decoder."):
        return CheckpointKind.SAM
    if holds("visual.", "token_embedding.weight") or holds("visual.", "text."):
        return CheckpointKind.CLIP
    if holds(*list(_TUNED_PREFIXES)[:1], _CONSISTENCY_PREFIX):
        return CheckpointKind.MASKCLIPPP
    if not tensors:
        found = "a file without any tensor"
    else:
        unfamiliar = f'a foreign checkpoint of {len(tensors)} tensors (such as "{next(iter(tensors))}")'
        found = next((what for prefix, what in _FOREIGN.items() if holds(prefix)), unfamiliar)
    raise CheckpointError(_mixed_up(path, found, expect))


def _refuse_unknown_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    unknown = [name for name in _without_ignored(tensors) if not name.startswith(_OVSEG_PREFIXES)]
    if unknown:
        raise CheckpointError(
            f'"{path}" looks like {CheckpointKind.OVSEG.value}, but that model has no use for {len(unknown)} '
            f'of its tensors (such as "{unknown[0]}"); this variant of the method is not supported.'
        )


def _mixed_up(path: Path, found: CheckpointKind | str, expect: CheckpointKind | None) -> str:
    expected = ", or ".join(kind.value for kind in ([expect] if expect else CheckpointKind))
    if isinstance(found, str):
        return f'"{path}" looks like {found}, but {expected} was expected; choose another file.'
    remedy = f"give it as {_OPTIONS[found]}=…, and another file here"
    return f'"{path}" looks like {found.value}, but {expected} was expected; {remedy}.'


def _without_ignored(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not any(fnmatchcase(name, pattern) for pattern in IGNORED)
    }
