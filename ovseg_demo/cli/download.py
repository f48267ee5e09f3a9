"""``ovseg download NAME``: download the weights of a model."""

from __future__ import annotations

import argparse

from ovseg_demo.cli.exit_codes import SUCCESS
from ovseg_demo.cli.progress_bar import StageBar
from ovseg_demo.models.catalogue import CATALOGUE, find_model
from ovseg_demo.models.downloads import download, download_model
from ovseg_demo.models.weights_files import OPEN_CLIP_PREFIX, find_open_clip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model's name and the choice of its parts."""
    parser.add_argument(
        "name", metavar="NAME", help=f"one of {', '.join(CATALOGUE)}, or {OPEN_CLIP_PREFIX}NAME/TAG"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="download the optional parts, too, such as an un-adapted CLIP for comparison",
    )


def run(arguments: argparse.Namespace) -> int:
    """Download missing files, verify the files that are present, and print the paths of all."""
    if arguments.name.startswith(OPEN_CLIP_PREFIX):
        return _download_open_clip(arguments.name)
    spec = find_model(arguments.name)
    roles = tuple(spec.parts) if arguments.all else tuple(spec.required)
    with StageBar(leave=True, unit="B", unit_scale=True) as bar:
        paths = download_model(spec, roles=roles, progress=bar)
    for role, path in paths.items():
        print(f"{path} ({spec.parts[role].licence})")
    return SUCCESS


def _download_open_clip(name: str) -> int:
    file = find_open_clip(name)
    with StageBar(leave=True, unit="B", unit_scale=True) as bar:
        path = download(file, progress=bar)
    print(f"{path} (licence: {file.licence})")
    return SUCCESS
