"""The examples: images with class names, from a manifest.

A manifest is a JSON list of entries: "image" (a file beside it), "title", "classes" (the prompt), "generator"
and "granularity". Photographs also have "credit" (who made it, and its licence) and ``"kind": "photograph"``;
all others are scenes of Sticker World, for the model of that name, and tell the "seed" of each.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from ovseg_demo.runtime.resources import bundled

EXAMPLES = bundled("examples")

STICKERS, PHOTOGRAPH = "stickers", "photograph"

_THUMBNAIL = (240, 180)
_HEADS = (0.5, 0.2)  # where upright images have what counts


@dataclass(frozen=True)
class Example:
    """An image with class names that suit it.

    Attributes:
        path: of the image.
        title: two or three words.
        prompt: class names as one would type them.
        generator: of the proposals.
        granularity: from 0 to 1.
        kind: :data:`STICKERS` or :data:`PHOTOGRAPH`.
        credit: who made the image, and its licence.
    """

    path: Path
    title: str
    prompt: str
    generator: str = "sam"
    granularity: float = 0.8
    kind: str = STICKERS
    credit: str = ""


def load_examples(folder: Path = EXAMPLES) -> tuple[Example, ...]:
    """Return the examples of a folder, in the order of its ``manifest.json``; none without such a file."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return ()
    return tuple(
        Example(
            path=folder / entry["image"],
            title=entry["title"],
            prompt=entry["classes"],
            generator=entry["generator"],
            granularity=float(entry["granularity"]),
            kind=entry.get("kind", STICKERS),
            credit=entry.get("credit", ""),
        )
        for entry in json.loads(manifest.read_text(encoding="utf-8"))
    )


def examples_for(examples: Sequence[Example], knows_photographs: bool) -> list[Example]:
    """Return the examples that suit a model: photographs, or Sticker World if it knows only that."""
    kind = PHOTOGRAPH if knows_photographs else STICKERS
    return [example for example in examples if example.kind == kind]


def gallery_value(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return the gallery's value: titles, prompts, credits and small images."""
    return [
        {
            "title": example.title,
            "prompt": example.prompt,
            "credit": example.credit,
            "thumbnail": _thumbnail(example.path),
        }
        for example in examples
    ]


def _thumbnail(path: Path) -> str:
    buffer = io.BytesIO()
    with Image.open(path) as image:
        ImageOps.fit(image.convert("RGB"), _THUMBNAIL, centering=_HEADS).save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
