"""The export formats. A new one is a module with a writer, and an entry in :data:`FORMATS`.

Three functions write segmentations:

- :func:`encode` returns one format as the content of one file, a zip archive where there are several files.
- :func:`write` writes one segmentation in several formats into a folder.
- For a data set, :func:`image_files` yields the files of one image and :func:`dataset_files` those that the
  data set has once. Both name the files relative to the data set's folder: ``yolo/labels/sub/photo.txt``,
  ``yolo/data.yaml``.

All files have the upright size of ``options.source``, the file that was segmented, whatever the size of the
segmentation. Nothing grows with the number of classes times the number of pixels.

::

    options = ExportOptions(settings, source=read_source(path), file=path, stem="sub/photo")
    for name, content in image_files(segmentation, ["coco", "yolo", "voc"], options):
        write_file(folder / name, content)
    for name, content in dataset_files(["coco", "yolo", "voc"], segmentation.class_names, stems):
        write_file(folder / name, content)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

from ovseg_demo.errors import OvsegError
from ovseg_demo.export import (
    coco,
    cut_outs,
    cvat,
    geojson,
    label_map,
    label_studio,
    masks,
    overlay,
    voc,
    yolo,
)
from ovseg_demo.export.files import ExportFile, zip_files
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.runtime.disk import replace_file

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

ImageWriter = Callable[[SizedSegmentation], Iterable[ExportFile]]
"""Yields the files of one image."""

DatasetWriter = Callable[[Sequence[str], Iterable[str]], Iterable[ExportFile]]
"""Yields the files that a data set has once, from the class names and the stems of all images' files."""


DatasetMerger = Callable[[Sequence[str], Sequence[Path], TextIO], None]
"""Writes the files of all images as one file, from the class names and the paths of the images' files."""


def _no_files(class_names: Sequence[str], stems: Iterable[str]) -> Iterable[ExportFile]:
    return ()


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    Attributes:
        suffix: the end of the name of a single download, such as ``label-map.png``; the image's name goes
            before it. A download with the end ``zip`` holds several files.
        write_image: yields the files of one image.
        write_dataset: yields the files that a data set has once.
        reads_file: whether it needs the file that was segmented, if that is larger than the segmentation.
        merge_dataset: writes one JSON file of all images, for programs that import no folder of files.
        for_geotiff: whether it is for georeferenced images alone, whose file it always needs.
    """

    suffix: str
    write_image: ImageWriter
    write_dataset: DatasetWriter = _no_files
    merge_dataset: DatasetMerger | None = None
    reads_file: bool = False
    for_geotiff: bool = False


def _one_file(suffix: str, write: Callable[[SizedSegmentation], bytes]) -> ImageWriter:
    """Return the writer of a format with one file for each image."""
    return lambda sized: [ExportFile(f"{sized.options.file_stem}{suffix}", write(sized))]


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "overlay": ExportFormat("overlay.png", _one_file(".png", overlay.write), reads_file=True),
        "label-map": ExportFormat("label-map.png", _one_file(".png", label_map.write)),
        "coco": ExportFormat("coco.json", _one_file(".json", coco.write)),
        "coco-polygons": ExportFormat("coco-polygons.json", _one_file(".json", coco.write_polygons)),
        "yolo": ExportFormat("yolo.zip", yolo.write, yolo.write_dataset),
        "label-studio": ExportFormat(
            "label-studio.zip",
            label_studio.write_brushes,
            label_studio.write_brush_dataset,
            label_studio.merge_tasks,
        ),
        "label-studio-polygons": ExportFormat(
            "label-studio-polygons.zip",
            label_studio.write_polygons,
            label_studio.write_polygon_dataset,
            label_studio.merge_tasks,
        ),
        "cvat": ExportFormat("cvat.zip", cvat.write, cvat.write_dataset, cvat.merge_images),
        "voc": ExportFormat("voc.zip", voc.write, voc.write_dataset),
        "geojson": ExportFormat("regions.geojson", geojson.write, reads_file=True, for_geotiff=True),
        "cut-outs": ExportFormat("cut-outs.zip", cut_outs.write_classes, reads_file=True),
        "cut-outs-parts": ExportFormat("cut-outs-parts.zip", cut_outs.write_parts, reads_file=True),
        "masks": ExportFormat("masks.zip", masks.write),
    }
)
"""Every format by the name that the page, the command line and programs use."""


def find_format(name: str) -> ExportFormat:
    """Return the format with this name.

    Raises:
        OvsegError: there is none.
    """
    if name not in FORMATS:
        raise OvsegError(f'There is no export format "{name}"; choose one of {", ".join(FORMATS)}.')
    return FORMATS[name]


def encode(segmentation: Segmentation, name: str, options: ExportOptions | None = None) -> bytes:
    """Return a segmentation in one format: the file, or a zip archive where the format has several files.

    Raises:
        OvsegError: there is no such format, or it cannot hold this segmentation.
    """
    export_format = find_format(name)
    sized = SizedSegmentation.of(segmentation, options or ExportOptions())
    files = _all_files(export_format, sized)
    if export_format.suffix.endswith(".zip"):
        return zip_files(files)
    (file,) = files
    return file.content


def image_files(
    segmentation: Segmentation, names: Sequence[str], options: ExportOptions | None = None
) -> Iterator[ExportFile]:
    """Yield the files of one image in several formats; each is made when its turn comes.

    Args:
        segmentation: what to write.
        names: of the formats.
        options: ``source`` and ``file`` tell the image's file, ``stem`` the name of the image's files in the
            data set.

    Returns:
        Files whose names begin with that of their format.

    Raises:
        OvsegError: there is no such format, or it cannot hold this segmentation.
    """
    formats = {name: find_format(name) for name in names}
    sized = SizedSegmentation.of(segmentation, options or ExportOptions())
    for name, export_format in formats.items():
        for file in export_format.write_image(sized):
            yield ExportFile(f"{name}/{file.name}", file.content)


def dataset_files(
    names: Sequence[str], class_names: Sequence[str], stems: Iterable[str]
) -> Iterator[ExportFile]:
    """Yield the files that a data set has once for each format, such as the names of its classes.

    Args:
        names: of the formats.
        class_names: of all images.
        stems: of the files of each image, as ``ExportOptions.stem`` gave them.

    Raises:
        OvsegError: there is no such format, or it cannot hold so many classes.
    """
    listed = list(stems)
    for name in dict.fromkeys(names):
        for file in find_format(name).write_dataset(class_names, listed):
            yield ExportFile(f"{name}/{file.name}", file.content)


def write(
    segmentation: Segmentation,
    folder: str | Path,
    names: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """Write one segmentation in several formats; older files with the same names are replaced.

    Args:
        segmentation: what to write.
        folder: gets a folder for each format. It is made where it is missing.
        names: of the formats.
        options: what to choose about the files.

    Returns:
        The paths of the files.

    Raises:
        OvsegError: there is no such format, or it cannot hold this segmentation.
        OSError: a file cannot be written; an older one stays as it was.
    """
    options = options or ExportOptions()
    files = chain(
        image_files(segmentation, names, options),
        dataset_files(names, segmentation.class_names, [options.file_stem]),
    )
    paths = []
    for name, content in files:
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
        paths.append(path)
    return paths


def _all_files(export_format: ExportFormat, sized: SizedSegmentation) -> Iterator[ExportFile]:
    yield from export_format.write_image(sized)
    yield from export_format.write_dataset(sized.class_names, [sized.options.file_stem])
