"""The server's messages to the browser: small JSON, from which the browser paints everything itself.

A label map is sent as deflated bytes: exact, and some kilobytes. Every message names its image and carries a
number that grows. The browser drops a message that is late or comes twice: when an event ends, Gradio sends
its last message again.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_demo.classification.suggestions import Suggestion
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import PixelExplanation, Segmentation
from ovseg_demo.ui.corrections import Corrections
from ovseg_demo.ui.request import read_min_scores
from ovseg_demo.ui.session import DisplayedMap
from ovseg_demo.ui.uploads import DISPLAY_SIDE, UploadedImage
from ovseg_demo.visualization.overlay import label_points
from ovseg_demo.visualization.palette import class_colors, distinct_colors, hex_color, text_color
from ovseg_demo.vocabulary import Vocabulary, describe_ignored

Message = dict[str, Any]
Updates = dict[str, Message]
"""Messages by the channel of the page that they are for."""

CHANNELS = (
    "image",
    "masks",
    "preview",
    "map",
    "other",
    "why",
    "notice",
    "progress",
    "status",
    "names",
    "open",
    "file",
    "start",
    "live",
    "still",
)
"""The channels of the viewer; "chips" and "suggestions" belong to other components."""

_TOP_CLASSES = 6
_SHOWN_MASKS = 4


def empty_message(number: int) -> Message:
    """Return a message that clears a channel."""
    return {"number": number}


def status_message(number: int, text: str) -> Message:
    """Return the line below the image."""
    return {"number": number, "text": text}


def progress_message(number: int, run: int, label: str, fraction: float) -> Message:
    """Return a run's progress: a fraction from 0 to 1, or below 0 where it is unknown."""
    return {"number": number, "run": run, "label": label, "fraction": fraction}


def image_message(image: UploadedImage, url: Mapping[str, Any], example: str = "") -> Message:
    """Return the image under the map.

    Args:
        image: the upload.
        url: Gradio's record of its file.
        example: the title of the example that the image is.
    """
    return {
        "number": image.number,
        "file": url,
        "example": example,
        "width": image.width,
        "height": image.height,
        "mayBeGeotiff": Path(image.path).suffix.lower() in (".tif", ".tiff"),
    }


LIVE_ANSWERS, LIVE_DROPS = "answers", "drops"
"""What became of a frame: it is answered, or a newer one takes its place."""


def live_message(
    number: int, view: int, event: str, image: UploadedImage | None = None, has_map: bool = False
) -> Message:
    """Return what became of a frame of the camera.

    Args:
        number: of the message.
        view: the number of the live view.
        event: such as :data:`LIVE_ANSWERS`.
        image: the frame that is answered.
        has_map: whether the frame's map comes with it.
    """
    frame = {} if image is None else _of_image(image)
    return {"number": number, "view": view, "event": event, "hasMap": has_map, **frame}


def counted(number: object) -> int:
    """Return the number by which the browser counts live views or prefetches; 0 if it sent anything else."""
    return number if isinstance(number, int) else 0


def view_message(number: int, view: int) -> Message:
    """Return which live view has started ("start"), or is over ("still"): its last frame is then an image."""
    return {"number": number, "view": view}


def map_message(displayed: DisplayedMap) -> Message:
    """Return a label map with its legend, and a link that restores the request and the example.

    The link is ``None`` where the request is too long for one.
    """
    segmentation = displayed.segmentation
    return {
        "number": displayed.number,
        **_of_image(displayed.image),
        "classifier": displayed.request.classifier,
        "link": displayed.request.link(displayed.example),
        "labels": pack_labels(segmentation.label_map),
        "classes": _legend(segmentation),
        "minScore": displayed.request.min_score,
        "minScores": read_min_scores(displayed.request.min_scores),
        "kept": np.flatnonzero(segmentation.kept).tolist(),
        "unlabelled": float(np.mean(segmentation.label_map < 0)),
    }


def corrections_message(segmentation: Segmentation, corrections: Corrections) -> Message:
    """Return which areas a visitor corrected, and what can be done about it.

    "canPoint" is whether Segment Anything can make a mask at a point of this image.
    """
    areas = segmentation.corrected.astype(np.int32) - 1 if segmentation.corrections else None
    return {
        "count": len(segmentation.corrections),
        "canUndo": corrections.can_undo,
        "canRedo": corrections.can_redo,
        "canPoint": segmentation.proposals.embedding is not None,
        "areas": None if areas is None else pack_labels(areas),
    }


def masks_message(image: UploadedImage, number: int, proposals: Proposals) -> Message:
    """Return all proposals, small ones above large ones, each in its own colour."""
    return {
        "number": number,
        **_of_image(image),
        "labels": pack_labels(topmost_masks(proposals)),
        "colors": [hex_color(color) for color in distinct_colors(len(proposals))],
        "count": len(proposals),
        "generator": proposals.generator,
    }


def why_message(
    image: UploadedImage, number: int, segmentation: Segmentation, explanation: PixelExplanation
) -> Message:
    """Return why a pixel is labelled as it is."""
    colors = class_colors(segmentation.class_names)
    color_of = {name: hex_color(color) for name, color in zip(segmentation.class_names, colors, strict=True)}
    return {
        "number": number,
        "image": image.number,
        "x": explanation.x,
        "y": explanation.y,
        "name": explanation.name,
        "isLabelled": explanation.label >= 0,
        "isCorrected": explanation.is_corrected,
        "classes": [
            {
                "name": share.name,
                "share": share.share,
                "isDistractor": share.is_distractor,
                "color": None if share.is_distractor else color_of[share.name],
            }
            for share in explanation.classes[:_TOP_CLASSES]
        ],
        "others": max(0, len(explanation.classes) - _TOP_CLASSES),
        "masks": [
            {"index": int(index), "part": float(part)}
            for index, part in zip(
                explanation.masks[:_SHOWN_MASKS], _parts(explanation.contributions), strict=False
            )
        ],
        "maskCount": len(explanation.masks),
        "proposalCount": len(segmentation.proposals),
        "mask": None if explanation.mask is None else pack_labels(explanation.mask.astype(np.int32) - 1),
    }


def chips_message(number: int, vocabulary: Vocabulary, found: Mapping[str, bool] | None = None) -> Message:
    """Return the class names as they were read, each with its colour, the distractors, and names left out.

    Args:
        number: of the message.
        vocabulary: the names.
        found: for each class name, whether it is in the map; ``None`` before there is a map.
    """
    colors = class_colors(vocabulary.class_names)
    return {
        "number": number,
        "chips": [
            {
                "name": entry.name,
                "synonyms": list(entry.synonyms),
                "isFound": None if found is None else found[entry.name],
                **_color(color),
            }
            for entry, color in zip(vocabulary.classes, colors, strict=True)
        ],
        "hidden": list(vocabulary.distractors),
        "problem": describe_ignored(vocabulary.ignored),
    }


def problem_message(number: int, problem: str) -> Message:
    """Return why the class names cannot be used."""
    return {"number": number, "chips": [], "hidden": [], "problem": problem}


def suggestions_message(
    number: int, suggestions: Sequence[Suggestion], prompt: str = "", replaced: str = ""
) -> Message:
    """Return the names that are suggested for the image.

    Args:
        number: of the message.
        suggestions: the names, the best first.
        prompt: what the prompt box gets, if it is empty or still holds ``replaced``.
        replaced: the names that were put there for another image.
    """
    names = [suggestion.name for suggestion in suggestions]
    return {"number": number, "names": names, "prompt": prompt, "replaced": replaced}


def found_names(segmentation: Segmentation) -> dict[str, bool]:
    """Return for each class name whether it has a pixel."""
    return dict(zip(segmentation.class_names, (segmentation.areas > 0).tolist(), strict=True))


def topmost_masks(proposals: Proposals) -> np.ndarray:
    """Return the smallest mask over each working pixel, or −1: int32 (h, w)."""
    topmost = np.full(proposals.working_size, -1, np.int32)
    for index in np.argsort(-proposals.areas, kind="stable"):
        topmost[proposals.unpack(index)] = index
    return topmost


def pack_labels(labels: np.ndarray) -> Message:
    """Return labels, from −1, as deflated bytes in base64, with their size and bits.

    0 is −1, and so on; 16 bits each where 8 are too few. A map larger than :data:`DISPLAY_SIDE` is thinned to
    that.
    """
    height, width = labels.shape
    scale = min(1, DISPLAY_SIDE / max(height, width))
    if scale < 1:
        rows, columns = (_thinned(side, round(side * scale)) for side in (height, width))
        labels = labels[rows[:, None], columns]
    bits = 8 if labels.max(initial=0) < 255 else 16
    values = np.ascontiguousarray(labels + 1, dtype="<u1" if bits == 8 else "<u2")
    return {
        "width": labels.shape[1],
        "height": labels.shape[0],
        "bits": bits,
        "data": base64.b64encode(zlib.compress(values, level=4)).decode("ascii"),
    }


def _of_image(image: UploadedImage) -> Message:
    """Return which image a message is about; the browser has the pixels of the camera's frames itself."""
    if image.frame is None:
        return {"image": image.number}
    return {"image": image.number, "frame": image.frame, "width": image.width, "height": image.height}


def _thinned(side: int, target: int) -> np.ndarray:
    """Return the rows or columns to keep, int64 (target,): those nearest to the middles of the new pixels."""
    return ((np.arange(target) + 0.5) * side / target).astype(np.int64)


def _legend(segmentation: Segmentation) -> list[Message]:
    height, width = segmentation.label_map.shape
    points = label_points(segmentation.label_map)
    entries = []
    for entry in segmentation.legend():
        point = points.get(entry.index)
        entries.append(
            {
                "index": entry.index,
                "name": entry.name,
                "synonyms": list(segmentation.vocabulary.classes[entry.index].synonyms),
                "share": entry.share,
                "score": entry.score,
                "isFound": entry.is_found,
                "minScore": segmentation.least_score(entry.name),
                "point": None if point is None else [point[0] / width, point[1] / height],
                **_color(entry.color),
            }
        )
    return entries


def _color(color: Sequence[int]) -> dict[str, str]:
    red, green, blue = (int(channel) for channel in color)
    return {"color": hex_color(color), "ink": hex_color(text_color((red, green, blue)))}


def _parts(contributions: np.ndarray) -> np.ndarray:
    """Return each mask's share, from 0 to 1, of the winner's score."""
    return contributions / contributions.sum() if len(contributions) else contributions
