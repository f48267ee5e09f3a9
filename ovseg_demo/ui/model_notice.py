"""The notice beside a map: advice, which model answered, and how to get the answer of one that knows more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ovseg_demo.models.weights_files import format_size
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message
from ovseg_demo.ui.model_registry import ModelEntry
from ovseg_demo.ui.request import GRIDS
from ovseg_demo.ui.status_text import rough_time

USE, DOWNLOAD, DOWNLOADING = "use", "download", "downloading"
"""What the button of a notice does; while a model is downloaded, nothing."""


def notice_message(
    number: int,
    entry: ModelEntry,
    larger: ModelEntry | None,
    texts: Texts,
    *,
    advice: Sequence[str] = (),
    remedies: Sequence[Message] = (),
    may_download: bool = False,
    is_downloading: bool = False,
    is_foreign: bool = False,
    grid: Message | None = None,
) -> Message:
    """Return the notice for a map.

    Args:
        number: of the message.
        entry: the model that answered.
        larger: the model to turn to where this one is not enough, if there is one here.
        texts: of the page.
        advice: sentences about the class names and the image.
        remedies: sentences about names that are not found, most with a button that changes it.
        may_download: whether this visitor may download models to the machine.
        is_downloading: whether the larger model is being downloaded for this visitor.
        is_foreign: whether the image is of a kind that the model does not know.
        grid: the part about Segment Anything's points (:func:`grid_message`), if there is one.
    """
    notice: Message = {
        "number": number,
        "title": texts.format("notice.answered_by", model=entry.title),
        "text": _character(entry, texts),
        "advice": list(advice),
    }
    if remedies:
        notice["remedies"] = list(remedies)
    if grid is not None:
        notice["grid"] = grid
    if is_foreign:
        notice["warning"] = texts.format("notice.foreign", model=entry.title)
    if larger is None:
        return notice
    names = {"model": larger.title, "size": format_size(larger.spec.size), "licence": larger.licence}
    if larger.is_present:
        kind, label, hint = USE, "notice.use", "notice.use_hint"
    elif is_downloading:
        kind, label, hint = DOWNLOADING, "notice.downloading", "notice.download_hint"
    elif may_download:
        kind, label, hint = DOWNLOAD, "notice.download", "notice.download_hint"
    else:
        command = f"python -m ovseg_demo download {larger.name}"
        return notice | {"hint": texts.format("notice.operator", **names), "command": command}
    button = {"kind": kind, "model": larger.name, "label": texts.format(label, **names)}
    return notice | {"hint": texts.format(hint, **names), "button": button}


def grid_message(
    points_per_side: int | None, chosen: int, estimate: Callable[[int], float | None], texts: Texts
) -> Message | None:
    """Return what is said of Segment Anything's points, and buttons that analyze the image at others.

    Args:
        points_per_side: of the grid at which it was asked; ``None`` for another generator.
        chosen: what the visitor chose, 0 for the model's own grid.
        estimate: returns the seconds that a grid will take, if that is known.
        texts: of the page.
    """
    if points_per_side is None:
        return None
    buttons = []
    finer = finer_grid(points_per_side)
    if finer:
        factor = round((finer / points_per_side) ** 2)
        seconds = estimate(finer)
        cost = "" if seconds is None else rough_time(seconds, texts)
        buttons.append({"points": finer, "label": texts.format("notice.finer", factor=factor), "cost": cost})
    if chosen:
        buttons.append({"points": 0, "label": texts["notice.own_grid"], "cost": ""})
    return {"text": texts.format("notice.grid", side=points_per_side), "buttons": buttons}


def finer_grid(points_per_side: int) -> int:
    """Return the next grid with at least four times as many points, or else the finest; 0 beyond that."""
    finer = [side for side in GRIDS if side >= 2 * points_per_side] or [
        side for side in GRIDS[-1:] if side > points_per_side
    ]
    return min(finer, default=0)


def _character(entry: ModelEntry, texts: Texts) -> str:
    """Return what to expect of a model; empty for one that is not small."""
    if not entry.is_bundled:
        return ""
    key = "notice.small" if entry.knows_photographs else "notice.drawn"
    return texts.format(key, size=format_size(entry.spec.size))
