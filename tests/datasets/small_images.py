"""Small generated images, and the command that segments them with the tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ovseg_demo.cli.main import main

CLASSES = "cat / kitten, grass, sky"
SIZES = ((40, 32), (32, 48), (56, 40))


def save_images(folder: Path, count: int, bad: tuple[int, ...] = ()) -> Path:
    """Write images of three sizes into sub-folders; those of the numbers ``bad`` are damaged."""
    for number in range(count):
        path = folder / f"part-{number % 3}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number in bad:
            path.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
        else:
            save_image(path, number)
    return folder


def save_image(path: Path, seed: int = 0) -> Path:
    width, height = SIZES[seed % len(SIZES)]
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(blocks.repeat(8, axis=0).repeat(8, axis=1)).save(path)
    return path


def arguments(ovseg: Path, output: Path, *more: object, classes: str | None = CLASSES) -> list[str]:
    """Return the command line; without another choice of formats, only label maps are written."""
    names = [] if classes is None else ["--classes", classes]
    formats = [] if "--format" in more else ["--format", "label-map"]
    parts = ("segment", *names, "--ovseg", ovseg, "--output", output, *more, *formats)
    return [str(part) for part in parts]


def segment(ovseg: Path, output: Path, *more: object, classes: str | None = CLASSES) -> int:
    """Return the exit code, whichever way it comes."""
    try:
        return main(arguments(ovseg, output, *more, classes=classes))
    except SystemExit as exit_:
        return exit_.code


def journal_lines(output: Path) -> Iterator[bytes]:
    for path in sorted((output / "records").glob("part-*.jsonl")):
        yield from path.read_bytes().splitlines()


def contents(output: Path) -> dict[str, bytes]:
    """Return what a finished data set consists of: each file but the journal and its lock."""
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and "records" not in path.relative_to(output).parts
    }
