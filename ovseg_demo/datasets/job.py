"""What is done with each image of a data set: how it is segmented, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_demo.classification.rules import GranularityRule, Rule
from ovseg_demo.datasets.items import Item
from ovseg_demo.errors import ImageError, VocabularyError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.folder import FILES
from ovseg_demo.export.formats import FORMATS, find_format
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.images import SourceImage, load_image, read_source
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.vocabulary import Vocabulary, check_templates, describe_ignored

DEFAULT_FORMATS = tuple(FILES.values())
"""The formats that each image gets where none are chosen: the overlay, the label map and the COCO record."""

_FILE_NAMES = {format_: name for name, format_ in FILES.items()}
_RECORD = DEFAULT_FORMATS[-1]
_ORDER = (*(name for name in FORMATS if name != _RECORD), _RECORD)  # it describes the other files
_VOCABULARIES = 1024  # kept parsed


@dataclass(frozen=True)
class LoadedImage:
    """An image in memory.

    Attributes:
        pixels: uint8 RGB (H, W, 3), upright.
        source: the file as it was.
        sha256: of the file.
    """

    pixels: np.ndarray
    source: SourceImage
    sha256: str


@dataclass(frozen=True)
class Result:
    """What is written of a segmented image.

    Attributes:
        files: the content of each file by its name; the record, if there is one, is the last.
        line: for the journal.
        settings: the line of the journal that describes the settings.
        summary: one line for people.
    """

    files: Mapping[str, bytes]
    line: Mapping[str, Any]
    settings: Mapping[str, Any]
    summary: str


class Job:
    """How the images of a run are segmented, and in which formats each result is written.

    Args:
        segmenter: the model.
        names: the class names of images that have none of their own; ``None`` if all have them.
        distractors: names that compete with the classes and are not drawn.
        generator: one of the segmenter's; ``None`` means its first.
        classifier: one of the segmenter's.
        rule: how masks become a map; by default :class:`GranularityRule`.
        templates: the prompt templates; ``None`` means the model's.
        stretch: whether deep colours are scaled from their own minimum and maximum.
        formats: names of :data:`ovseg_demo.export.formats.FORMATS`.
        description: settings to record besides these, such as the name of the model.
        weights: what tells the weights and the device from others; by default
            :meth:`Segmenter.fingerprint`.

    Raises:
        OvsegError: a setting is not valid.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        names: str | None,
        *,
        distractors: str = "",
        generator: str | None = None,
        classifier: str = CLASSIFIERS[0],
        rule: Rule | None = None,
        templates: str | None = None,
        stretch: bool = False,
        formats: Sequence[str] = DEFAULT_FORMATS,
        description: Mapping[str, Any] | None = None,
        weights: str | None = None,
    ):
        self.segmenter = segmenter
        self.names = names
        for name in formats:
            find_format(name)
        self.formats = tuple(sorted(set(formats), key=_ORDER.index))
        self.stretch = stretch
        self._distractors = distractors
        self._rule = rule or GranularityRule()
        self._generator = generator or segmenter.generators[0]
        self._classifier = classifier
        self._templates = templates or segmenter.templates
        check_templates(self._templates)
        self._description = {
            **(description or {}),
            "stretch": stretch,
            "generator": self._generator,
            "classifier": classifier,
            "templates": self._templates,
            **asdict(self._rule),
            "weights": weights or segmenter.fingerprint(generator=self._generator, classifier=classifier),
        }
        self._read_names = lru_cache(_VOCABULARIES)(self._parse_names)

    @property
    def weights(self) -> str:
        """What tells the weights and the device from others."""
        return self._description["weights"]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that each image gets."""
        return tuple(file_name(format_) for format_ in self.formats)

    def settings_of(self, item: Item) -> tuple[str, dict[str, Any]]:
        """Return the id of an image's settings, and the settings.

        Equal ids mean equal settings, weights and class names.

        Raises:
            VocabularyError: the class names of the image cannot be used.
        """
        vocabulary, identity = self._read_names(self._names_of(item))
        return identity, {
            **self._description,
            "classes": [" / ".join(entry.names) for entry in vocabulary.classes],
            "distractors": list(vocabulary.distractors),
        }

    def load(self, item: Item) -> LoadedImage:
        """Return the image of an item.

        Raises:
            ImageError: it is no image that can be segmented.
        """
        content = item.content if isinstance(item.content, Path) else item.content()
        try:
            pixels = load_image(content, stretch=self.stretch)
            source = read_source(content)
        except ImageError as error:
            if isinstance(content, Path):
                raise
            raise ImageError(str(error).replace("The image", f'"{item.file_name}"', 1)) from error
        return LoadedImage(pixels, replace(source, file_name=_as_text(item.name)), item.hash_content())

    def segment(
        self, image: LoadedImage, item: Item, progress: ProgressCallback = no_progress
    ) -> Segmentation:
        """Return the segmentation of an image.

        Raises:
            OvsegError: the class names or a setting is not valid, or memory is too small.
        """
        vocabulary, _ = self._read_names(self._names_of(item))
        return self.segmenter.segment(
            image.pixels,
            vocabulary,
            generator=self._generator,
            classifier=self._classifier,
            rule=self._rule,
            templates=self._templates,
            progress=progress,
        )

    def describe(self, segmentation: Segmentation, image: LoadedImage, item: Item) -> Result:
        """Return what is written of a segmented image."""
        identity, settings = self.settings_of(item)
        options = ExportOptions(settings, View(labels=False), image.source)
        files = {file_name(name): FORMATS[name].write(segmentation, options) for name in self.formats}
        record = coco_record(segmentation, settings=settings, source=image.source)
        names = {category["id"]: category["name"] for category in record["categories"]}
        annotations = [
            {"name": names[annotation["category_id"]]}
            | {key: annotation[key] for key in ("segmentation", "area", "bbox", "score")}
            for annotation in record["annotations"]
        ]
        height, width = segmentation.label_map.shape
        line = {
            "id": item.digest,
            "file_name": _as_text(item.file_name),
            "given": _as_text(item.given),
            "key": item.key,
            "sha256": image.sha256,
            "settings": identity,
            "files": list(files),
            "width": width,
            "height": height,
            "source": asdict(image.source),
            "license": item.license,
            "notes": list(segmentation.notes),
            "ignored_names": dict(segmentation.vocabulary.ignored),
            "annotations": annotations,
        }
        categories = [
            {"name": category["name"], "synonyms": category["synonyms"]} for category in record["categories"]
        ]
        described = {"id": identity, "settings": settings, "categories": categories}
        return Result(files, line, described, summarise(segmentation))

    def _names_of(self, item: Item) -> str:
        names = item.names if item.names is not None else self.names
        if names is None:
            raise VocabularyError(
                f'"{item.name}" has no class names; give --classes, or a list with a column "classes".'
            )
        return names

    def _parse_names(self, names: str) -> tuple[Vocabulary, str]:
        vocabulary = Vocabulary.parse(names, distractors=self._distractors)
        parts = self._description, [entry.names for entry in vocabulary.classes], vocabulary.distractors
        text = json.dumps(parts, sort_keys=True, default=str)
        return vocabulary, hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def summarise(segmentation: Segmentation) -> str:
    """Return one line: each class found, with its share of the pixels and its score, then those not found."""
    legend = segmentation.legend()
    found = [f"{entry.name} {entry.share:.1%} ({entry.score:.2f})" for entry in legend if entry.is_found]
    missing = [entry.name for entry in legend if not entry.is_found]
    parts = [", ".join(found)] if found else []
    if missing:
        parts.append(f"not found: {', '.join(missing)}")
    if segmentation.vocabulary.ignored:
        parts.append(describe_ignored(segmentation.vocabulary.ignored))
    return "; ".join(parts)


def file_name(format_: str) -> str:
    """Return the name of the file that holds a format in an image's folder."""
    return _FILE_NAMES.get(format_) or FORMATS[format_].suffix


def _as_text(name: str) -> str:
    """Return a file's name without bytes that are no UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")
