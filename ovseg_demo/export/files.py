"""Files that keep a segmentation exactly: indexed PNG, COCO JSON with run lengths, zipped masks.

Everything that carries labels is lossless. In the PNG and in the JSON a class has the same number, its index
plus one, and 0 means unlabelled.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pycocotools import mask as coco

from ovseg_demo.classification.resampling import resize_nearest
from ovseg_demo.visualization.legend import DPI
from ovseg_demo.visualization.palette import BLACK, class_colors, hex_color

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

FIRST_VALUE = 1
"""The number of the first class in files; 0 is unlabelled."""

MAX_PALETTE_CLASSES = 255

_MAX_SLUG = 60
_RESERVED = re.compile(
    "(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.ASCII
)  # no file may have these names on Windows
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same masks make the same zip


def save_segmentation(
    segmentation: Segmentation, folder: str | Path, *, settings: Mapping[str, Any] | None = None
) -> None:
    """Write a segmentation into a folder, which is made if need be; files of an earlier one are replaced.

    ``overlay.png`` is the map over the image with its legend, ``label_map.png`` the exact map
    (:func:`encode_label_map`), ``segmentation.json`` a COCO data set (:func:`segmentation_record`).

    Args:
        segmentation: what to write.
        folder: where to.
        settings: kept in the JSON, beside those that the segmentation knows itself.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    segmentation.overlay().save(folder / "overlay.png", dpi=(DPI, DPI))
    names = segmentation.class_names
    (folder / "label_map.png").write_bytes(encode_label_map(segmentation.label_map, names))
    record = segmentation_record(
        segmentation.label_map,
        names,
        segmentation.scores,
        segmentation.best_scores,
        synonyms=[item.synonyms for item in segmentation.vocabulary.classes],
        settings={**known_settings(segmentation), **(settings or {})},
    )
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / "segmentation.json").write_text(text + "\n", encoding="utf-8")


def kept_masks(segmentation: Segmentation) -> Iterator[tuple[str, np.ndarray]]:
    """The masks that take part in a segmentation, for :func:`masks_zip`: best class name, and bool (H, W)."""
    size = segmentation.label_map.shape
    for index in np.flatnonzero(segmentation.kept):
        name = segmentation.class_names[segmentation.probabilities[index].argmax()]
        yield name, resize_nearest(segmentation.proposals.unpack(index), size)


def encode_label_map(label_map: np.ndarray, class_names: Sequence[str]) -> bytes:
    """Write a label map as PNG: the value of a pixel is its class index + 1, and 0 where it is unlabelled.

    Up to 255 classes make an 8-bit indexed image whose palette holds the classes' colours; more of them
    make a 16-bit grey one, which can have no palette. The text field "classes" of either is a JSON list of
    the names.

    Args:
        label_map: int32 (H, W), class indices, or −1.
        class_names: K names.
    """
    values = label_map + FIRST_VALUE
    text = PngInfo()
    text.add_itxt("classes", json.dumps(list(class_names), ensure_ascii=False))
    buffer = io.BytesIO()
    if len(class_names) <= MAX_PALETTE_CLASSES:
        image = Image.fromarray(values.astype(np.uint8)).convert("P")
        image.putpalette(np.vstack([[BLACK], class_colors(class_names)]).astype(np.uint8).tobytes())
        image.save(buffer, "PNG", bits=8, pnginfo=text)
    else:
        Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def decode_label_map(source: bytes | str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read back what :func:`encode_label_map` wrote, from its bytes or a file: label map and class names."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=["PNG"]) as image:
        values = np.asarray(image)
        names = json.loads(image.text["classes"])
    return values.astype(np.int32) - FIRST_VALUE, tuple(names)


def class_rles(label_map: np.ndarray, classes: int) -> list[dict[str, Any]]:
    """The mask of each class as a COCO run-length encoding, with its counts as text: fit for JSON.

    One pass over the map finds the runs of all classes together.

    Args:
        label_map: int32 (H, W), class indices below ``classes``, or −1.
        classes: K; a class without a pixel has an empty mask.
    """
    height, width = label_map.shape
    column_wise = label_map.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(column_wise)) + 1])
    stops = np.append(starts[1:], column_wise.size)
    by_class = np.argsort(column_wise[starts], kind="stable")
    first = np.searchsorted(column_wise[starts][by_class], np.arange(classes + 1))
    uncompressed = []
    for index in range(classes):
        runs = by_class[first[index] : first[index + 1]]
        edges = np.column_stack([starts[runs], stops[runs]]).ravel()
        counts = np.diff(edges, prepend=0, append=column_wise.size).tolist()
        if len(counts) > 1 and counts[-1] == 0:  # the class has the last pixel; COCO ends there
            counts.pop()
        uncompressed.append({"size": [height, width], "counts": counts})
    rles = coco.frPyObjects(uncompressed, height, width) if uncompressed else []
    return [{"size": [height, width], "counts": rle["counts"].decode("ascii")} for rle in rles]


def known_settings(segmentation: Segmentation) -> dict[str, Any]:
    """What a segmentation knows of how it was made, as a record keeps it."""
    return {
        "generator": segmentation.proposals.generator,
        "templates": segmentation.templates,
        "distractors": list(segmentation.vocabulary.distractors),
        "masks": len(segmentation.proposals),
        "kept_masks": int(np.count_nonzero(segmentation.kept)),
    }


def segmentation_record(
    label_map: np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float],
    best_scores: Sequence[float],
    *,
    synonyms: Sequence[Sequence[str]] = (),
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All that a segmentation says, as a COCO data set of one image that pycocotools can load.

    Args:
        label_map: int32 (H, W), class indices, or −1.
        class_names: K names.
        scores: each class's score in the map, from 0 to 1; not read where it has no pixel.
        best_scores: the highest score that any mask got for each class.
        synonyms: of each class, if there are any.
        settings: how the segmentation was made; anything that JSON can hold.

    Returns:
        A dictionary fit for JSON: "images" with the one image, "categories" with every class, also those
        that were not found, "annotations" with a mask for each class that was found, and "info" with the
        settings.
    """
    height, width = label_map.shape
    rles = class_rles(label_map, len(class_names))
    colors = class_colors(class_names)
    categories, annotations = [], []
    for index, (name, rle) in enumerate(zip(class_names, rles, strict=True)):
        area = int(coco.area(rle))
        category = {
            "id": index + FIRST_VALUE,
            "name": name,
            "synonyms": list(synonyms[index]) if synonyms else [],
            "color": hex_color(colors[index]),
            "found": area > 0,
            "area": area,
            "share": area / label_map.size,
            "score": float(scores[index]) if area else None,
            "best_score": float(best_scores[index]),
        }
        categories.append(category)
        if area:
            annotations.append(_annotation(category, rle))
    return {
        "info": {"description": "Open-vocabulary semantic segmentation", "settings": dict(settings or {})},
        "images": [{"id": 1, "height": height, "width": width, "file_name": "label_map.png"}],
        "categories": categories,
        "annotations": annotations,
    }


def masks_zip(masks: Iterable[tuple[str, np.ndarray]]) -> bytes:
    """Zip masks as 1-bit PNGs, white where the mask is.

    Args:
        masks: names, which become file names such as ``0007-red-bench.png``, and bool masks (H, W).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # PNG is compressed already
        for number, (name, mask) in enumerate(masks, start=1):
            content = io.BytesIO()
            Image.fromarray(mask).save(content, "PNG")
            archive.writestr(zipfile.ZipInfo(f"{number:04d}-{slug(name)}.png", _ZIP_TIME), content.getvalue())
    return buffer.getvalue()


def slug(name: str) -> str:
    """A name made safe for any file system: letters and digits of any script, in lower case, and hyphens."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())
    shortened = "-".join(words)[:_MAX_SLUG].strip("-")
    if not shortened:
        return "unnamed"
    return f"{shortened}-" if _RESERVED.fullmatch(shortened) else shortened


def unique_slugs(names: Iterable[str]) -> tuple[str, ...]:
    """:func:`slug` of each name; of those that would be equal, later ones get "-2", "-3" and so on."""
    slugs: list[str] = []
    taken: set[str] = set()
    for name in names:
        base = candidate = slug(name)
        number = 1
        while candidate in taken:
            number += 1
            candidate = f"{base}-{number}"
        taken.add(candidate)
        slugs.append(candidate)
    return tuple(slugs)


def _annotation(category: Mapping[str, Any], rle: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": category["id"],
        "image_id": 1,
        "category_id": category["id"],
        "segmentation": dict(rle),
        "area": category["area"],
        "bbox": coco.toBbox(rle).tolist(),
        "iscrowd": 0,
        "score": category["score"],
    }
