"""What is done with each image of a data set: how it is segmented, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.rules import GranularityRule, Rule
from ovseg_demo.datasets.items import Item
from ovseg_demo.errors import ImageError, VocabularyError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.folder import FILES
from ovseg_demo.export.formats import FORMATS, encode, find_format, image_files
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.images import SourceImage, load_image, read_source
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.vocabulary import Vocabulary, check_templates, describe_ignored

FOLDER = "images"
"""In the folder of the results: the folder that holds a folder for each image."""

AUTO = "auto"
"""In place of class names: each image gets the names that are suggested for it."""

DEFAULT_FORMATS = tuple(FILES.values())
"""The formats that each image gets where none are chosen: the overlay, the label map and the COCO record."""

INDEXED = ("yolo", "voc")
"""Formats whose files number the classes of the whole data set."""

WEIGHTS_FILES = "weights_files"
"""In the recorded settings: where the weights were, which does not tell results from others."""

_FILE_NAMES = {format_: name for name, format_ in FILES.items()}
_ORDER = (*(name for name in FORMATS if name not in DEFAULT_FORMATS), *DEFAULT_FORMATS)
_VOCABULARIES = 1024  # kept parsed


@dataclass(frozen=True)
class LoadedImage:
    """An image in memory.

    Attributes:
        pixels: uint8 RGB (H, W, 3), upright.
        source: the file as it was.
        sha256: of the file.
        file: its path, or its bytes where it is no file of this machine.
    """

    pixels: np.ndarray
    source: SourceImage
    sha256: str
    file: Path | bytes


@dataclass(frozen=True)
class Result:
    """What is written of a segmented image.

    Attributes:
        files: the content of each file by its path in the folder of the results; the record, if there is one,
            is the last.
        line: for the journal.
        details: further lines of the journal, to which ``line`` refers: the settings and the classes.
        summary: one line for people.
    """

    files: Mapping[str, bytes]
    line: Mapping[str, Any]
    details: Sequence[Mapping[str, Any]]
    summary: str


class Job:
    """How the images of a run are segmented, and in which formats each result is written.

    Args:
        segmenter: the model.
        names: the class names of images that have none of their own, or :data:`AUTO`; ``None`` if all have
            them.
        distractors: names that compete with the classes and are not drawn.
        generator: one of the segmenter's; ``None`` means its first.
        classifier: one of the segmenter's.
        rule: how masks become a map; by default :class:`GranularityRule`.
        templates: the prompt templates; ``None`` means the model's.
        stretch: whether deep colours are scaled from their own minimum and maximum.
        formats: names of :data:`ovseg_demo.export.formats.FORMATS`.
        description: settings to record besides these, such as the name of the model.
        weights_files: where the weights are; recorded, but results of other places are no other results.
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
        weights_files: Mapping[str, Any] | None = None,
        weights: str | None = None,
    ):
        self.segmenter = segmenter
        self.names = names
        for name in formats:
            find_format(name)
        self.formats = self.order_formats(formats)
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
        self._weights_files = dict(weights_files or {})
        self._read_names = lru_cache(_VOCABULARIES)(self._parse_names)

    @staticmethod
    def order_formats(formats: Iterable[str]) -> tuple[str, ...]:
        """Return formats in the order in which they are written, the record last: it describes the others."""
        return tuple(sorted(set(formats), key=_ORDER.index))

    @property
    def weights(self) -> str:
        """What tells the weights and the device from others."""
        return self._description["weights"]

    def settings_of(self, item: Item) -> tuple[str, dict[str, Any]]:
        """Return the id of an image's settings, and the settings.

        Equal ids mean equal settings, weights and class names.

        Raises:
            VocabularyError: the class names of the image cannot be used.
        """
        vocabulary, identity = self._read_names(self._names_of(item))
        classes = AUTO if vocabulary is None else [" / ".join(entry.names) for entry in vocabulary.classes]
        return identity, {
            **self._description,
            **({WEIGHTS_FILES: self._weights_files} if self._weights_files else {}),
            "suggested_classes": vocabulary is None,
            "classes": classes,
            "distractors": self._distractors if vocabulary is None else list(vocabulary.distractors),
        }

    def load(self, item: Item) -> LoadedImage:
        """Return the image of an item.

        Raises:
            ImageError: it is no image that can be segmented.
            OSError: it cannot be read.
        """
        content = item.content if isinstance(item.content, Path) else item.content()
        try:
            pixels = load_image(content, stretch=self.stretch)
            source = read_source(content)
        except ImageError as error:
            if isinstance(content, Path):
                raise
            raise ImageError(str(error).replace("The image", f'"{item.file_name}"', 1)) from error
        is_local = isinstance(content, Path)
        sha256 = item.hash_content() if is_local else hashlib.sha256(content).hexdigest()
        return LoadedImage(pixels, replace(source, file_name=_as_text(item.name)), sha256, content)

    def segment(
        self, image: LoadedImage, item: Item, progress: ProgressCallback = no_progress
    ) -> Segmentation:
        """Return the segmentation of an image.

        Raises:
            ImageError: no class names can be suggested for it.
            OvsegError: the class names or a setting is not valid, or memory is too small.
        """
        vocabulary, _ = self._read_names(self._names_of(item))
        analysis = self._analyze(image, progress)
        if vocabulary is None:
            names = _suggest(analysis, item, progress)
            vocabulary = Vocabulary.parse(names, distractors=self._distractors)
        segmentation = analysis.segment(
            vocabulary, rule=self._rule, templates=self._templates, progress=progress
        )
        return replace(segmentation, timings=(*analysis.timings, *segmentation.timings))

    def suggest(
        self, image: LoadedImage, item: Item, progress: ProgressCallback = no_progress
    ) -> tuple[str, ...]:
        """Return the class names that suit an image.

        Raises:
            ImageError: there are none.
            OvsegError: memory is too small.
        """
        return _suggest(self._analyze(image, progress), item, progress)

    def describe(
        self,
        segmentation: Segmentation,
        image: LoadedImage,
        item: Item,
        stem: str,
        formats: Sequence[str] | None = None,
    ) -> Result:
        """Return what is written of a segmented image.

        Args:
            segmentation: of the image.
            image: the image.
            item: where the image is.
            stem: the name of its files in formats with a folder for all images.
            formats: in the order of :meth:`order_formats`; by default those of the job.

        Raises:
            OvsegError: a format cannot hold the segmentation.
        """
        formats = self.formats if formats is None else formats
        identity, settings = self.settings_of(item)
        options = ExportOptions(settings, View(labels=False), image.source, image.file)
        files = {}
        others = [name for name in formats if name not in _FILE_NAMES]
        source = replace(image.source, file_name=_as_text(item.file_name))
        for file in image_files(segmentation, others, replace(options, source=source, stem=stem)):
            files[file.name] = file.content
        for name in formats[len(others) :]:
            files[f"{FOLDER}/{item.key}/{_FILE_NAMES[name]}"] = encode(segmentation, name, options)
        line, classes = _record(segmentation, image, item, settings)
        line |= {"settings": identity, "files": list(files), "formats": list(formats), "stem": stem}
        details = ({"id": identity, "settings": settings}, classes)
        return Result(files, line, details, summarise(segmentation))

    def _analyze(self, image: LoadedImage, progress: ProgressCallback) -> Analysis:
        return self.segmenter.analyze(
            image.pixels, generator=self._generator, classifier=self._classifier, progress=progress
        )

    def _names_of(self, item: Item) -> str | tuple[str, ...]:
        names = item.names if item.names is not None else self.names
        if names is None:
            raise VocabularyError(
                f'"{item.name}" has no class names; give --classes, or a list with a column "classes".'
            )
        return names

    def _parse_names(self, names: str | tuple[str, ...]) -> tuple[Vocabulary | None, str]:
        """Return the vocabulary of class names and the id of their settings; no vocabulary for AUTO."""
        if isinstance(names, str) and names.strip().casefold() == AUTO:
            return None, _digest(self._description, AUTO, self._distractors)
        vocabulary = Vocabulary.parse(names, distractors=self._distractors)
        classes = [entry.names for entry in vocabulary.classes]
        return vocabulary, _digest(self._description, classes, vocabulary.distractors)


def _record(
    segmentation: Segmentation, image: LoadedImage, item: Item, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the line of an image for the journal, and the line of its classes."""
    record = coco_record(segmentation, settings=settings, source=image.source)
    names = {category["id"]: category["name"] for category in record["categories"]}
    kept = ("segmentation", "area", "bbox", "score")
    annotations = [
        {"name": names[annotation["category_id"]]} | {key: annotation[key] for key in kept}
        for annotation in record["annotations"]
    ]
    categories = [{key: category[key] for key in ("name", "synonyms")} for category in record["categories"]]
    classes = _digest(categories)
    (described,) = record["images"]
    line = {
        "id": item.digest,
        "file_name": _as_text(item.file_name),
        "given": _as_text(item.given),
        "key": item.key,
        "sha256": image.sha256,
        "classes": classes,
        "width": described["width"],
        "height": described["height"],
        "source": described["source"],
        "license": item.license,
        "notes": list(segmentation.notes),
        "ignored_names": dict(segmentation.vocabulary.ignored),
        "annotations": annotations,
    }
    return line, {"id": classes, "categories": categories}


def _suggest(analysis: Analysis, item: Item, progress: ProgressCallback) -> tuple[str, ...]:
    names = tuple(one.name for one in analysis.suggest(progress=progress))
    if not names:
        raise ImageError(
            f'No class name can be suggested for "{item.name}", because no mask was found in it; name '
            "classes with --classes."
        )
    return names


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


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


def _as_text(name: str) -> str:
    """Return a file's name without bytes that are no UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")
