"""The notice beside a map: advice, which model answered, and how to get the answer of one that knows more."""

from __future__ import annotations

from collections.abc import Sequence

from ovseg_demo.models.weights_files import format_size
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message
from ovseg_demo.ui.model_registry import ModelEntry

USE, DOWNLOAD, DOWNLOADING = "use", "download", "downloading"
"""What the button of a notice does; while a model is downloaded, nothing."""


def notice_message(
    number: int,
    entry: ModelEntry,
    larger: ModelEntry | None,
    texts: Texts,
    *,
    advice: Sequence[str] = (),
    may_download: bool = False,
    is_downloading: bool = False,
    is_foreign: bool = False,
) -> Message:
    """Return the notice for a map.

    Args:
        number: of the message.
        entry: the model that answered.
        larger: the model to turn to where this one is not enough, if there is one here.
        texts: of the page.
        advice: sentences about the class names and the image.
        may_download: whether this visitor may download models to the machine.
        is_downloading: whether the larger model is being downloaded for this visitor.
        is_foreign: whether the image is of a kind that the model does not know.
    """
    notice: Message = {
        "number": number,
        "title": texts.format("notice.answered_by", model=entry.title),
        "text": _character(entry, texts),
        "advice": list(advice),
    }
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


def _character(entry: ModelEntry, texts: Texts) -> str:
    """Return what to expect of a model; empty for one that is not small."""
    if not entry.is_bundled:
        return ""
    key = "notice.small" if entry.knows_photographs else "notice.drawn"
    return texts.format(key, size=format_size(entry.spec.size))
