"""Whether a run continues an earlier one with the same settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import INDEXED, WEIGHTS_FILES, Job
from ovseg_demo.datasets.store import ResultStore
from ovseg_demo.errors import OvsegError, VocabularyError

_LONGEST = 60  # characters of a value in a sentence


def check_settings(store: ResultStore, job: Job, items: Sequence[Item], *, replaces: bool = False) -> None:
    """Check that no image has results of other settings, unless they are replaced.

    Raises:
        OvsegError: some have; the sentence says what changed, and how their results are replaced. Or a format
            that numbers the classes of the data set has other classes for images that are not replaced.
    """
    _check_classes(store, job, items)
    if replaces:
        return
    count, first = 0, None
    for item in items:
        entry = store.journal.find(item.digest)
        if entry is None:
            continue
        try:
            identity, settings = job.settings_of(item)
        except VocabularyError:  # an error of this image, when its turn comes
            continue
        if entry.settings != identity:
            count += 1
            first = first or (store.journal.details[entry.settings]["settings"], settings)
    if first is not None:
        images = "1 image has" if count == 1 else f"{count:,} images have"
        raise OvsegError(
            f'{images} results of other settings in "{store.address}" ({describe_change(*first)}); replace '
            "them with --overwrite, or name another --output."
        )


def _check_classes(store: ResultStore, job: Job, items: Sequence[Item]) -> None:
    """Check that formats that number the classes of a data set find the same classes everywhere.

    Raises:
        OvsegError: other images have such a format and other classes.
    """
    formats = {name for name in job.formats if name in INDEXED}
    ours = {item.digest for item in items} if formats else set()
    for image, entry in store.journal.entries().items() if formats else ():
        shared = formats & set(entry.formats)
        before = store.journal.details[entry.settings]["settings"]["classes"]
        after = job.settings_of(items[0])[1]["classes"]
        if shared and image not in ours and before != after:
            raise OvsegError(
                f'Other images in "{store.address}" have the format "{min(shared)}" with other classes '
                f"({_shorten(before)}), and it numbers the classes of the whole data set; name another "
                "--output."
            )


def describe_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return a phrase for each setting that differs, such as "granularity was 0.8, is 0.5"."""
    names = [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]
    changes = [
        f"{name} was {_shorten(before.get(name))}, is {_shorten(after.get(name))}"
        for name in names
        if name not in ("weights", WEIGHTS_FILES)
    ]
    return "; ".join(changes) or "the weights or the device changed"


def _shorten(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
