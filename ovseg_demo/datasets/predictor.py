"""A picklable function from batches of images to batches of label maps, for tools that process data sets."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from ovseg_demo.analysis import choose_rule
from ovseg_demo.classification.rules import Rule
from ovseg_demo.datasets.lists import read_names
from ovseg_demo.errors import DeviceError, ImageError, OvsegError, VocabularyError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.label_map import encode_label_map
from ovseg_demo.images import load_image
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.runtime.out_of_memory import is_out_of_memory
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import CLASSIFIERS, Caches, Segmenter
from ovseg_demo.vocabulary import Vocabulary

_IMPORTED_IN = os.getpid()
_QUOTED = 40  # characters of a value in a sentence

LABEL_MAP, ANNOTATIONS, WIDTH, HEIGHT, ERROR = "label_map", "annotations", "width", "height", "error"
"""The columns that a :class:`Predictor` adds."""


class Predictor:
    """Segments batches of images: ``predictor(batch: dict[str, list]) -> dict[str, list]``.

    ``datasets.map(batched=True)``, ``ray.data.map_batches``, Daft and Spark's ``mapInPandas`` take such a
    function. It can be pickled: the networks stay behind, and each process loads them once, when it segments
    its first image, for all predictors of the same model.

    The result has the columns of the batch, without that of the images, and these:

    - ``label_map``: the bytes of a PNG, which :func:`ovseg_demo.export.label_map.decode_label_map` reads; or,
      with ``arrays``, int32 (H, W), class indices, or −1 where a pixel is unlabelled;
    - ``annotations``: a JSON list of the classes that were found: name, mask in COCO's run-length encoding,
      area in pixels, box, score;
    - ``width``, ``height``: of the image, upright;
    - ``error``: one sentence if the image could not be segmented, otherwise empty. The other columns are then
      empty or 0.

    Args:
        model: a model of the catalogue; ``None`` means the default, or no more than the files in ``options``.
        classes: class names, as :meth:`Vocabulary.parse` reads them; ``None`` if each batch has a column
            "classes".
        image_column: the column of the images. Each is a path, the bytes of a file, a dictionary with the
            fields "bytes" and "path", a PIL image, or an array (H, W) or (H, W, C). Sizes may differ.
        classes_column: a column of class names. Where it has some, they count instead of ``classes``.
        distractors: names that compete with the classes and are not drawn.
        generator: the proposal generator; ``None`` means the model's first.
        classifier: the classifier.
        rule: how masks become a map.
        granularity: short for ``rule=GranularityRule(granularity)``.
        templates: the prompt templates; ``None`` means the model's.
        arrays: whether label maps are arrays instead of PNGs.
        options: further arguments of :func:`ovseg_demo.load_segmenter`, such as weights files and the device.

    Raises:
        OvsegError: the class names or the rule are not valid.
    """

    def __init__(
        self,
        model: str | None = None,
        classes: str | Sequence[str] | None = None,
        *,
        image_column: str = "image",
        classes_column: str = "classes",
        distractors: str | Sequence[str] = "",
        generator: str | None = None,
        classifier: str = CLASSIFIERS[0],
        rule: Rule | None = None,
        granularity: float | None = None,
        templates: str | None = None,
        arrays: bool = False,
        **options: Any,
    ):
        self.classes = _read_names(
            classes,
            f"classes is a {type(classes).__name__}",
            'give a text such as "dog, grass", or one text a class',
        )
        self.image_column = image_column
        self.classes_column = classes_column
        self.arrays = arrays
        self._distractors = distractors if isinstance(distractors, str) else tuple(distractors)
        self._settings = {
            "generator": generator,
            "classifier": classifier,
            "rule": choose_rule(rule, granularity),
            "templates": templates,
        }
        self._options = pickle.dumps(sorted({"name": model, **_as_texts(options)}.items()))
        if self.classes is not None:
            Vocabulary.parse(self.classes, distractors=self._distractors)

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter of this process.

        Raises:
            OvsegError: the model cannot be loaded.
        """
        return _load(os.getpid(), self._options)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the columns of a batch and its label maps.

        Args:
            batch: columns of equal length; a column may also be an array.

        Raises:
            OvsegError: the model cannot be loaded, a setting is not valid for it, the batch has no images, or
                it has no class names.
        """
        if self.image_column not in batch:
            raise OvsegError(
                f'The batch has no column "{self.image_column}" (its columns: {", ".join(batch)}); name the '
                "column of the images with image_column."
            )
        images = batch[self.image_column]
        names = batch.get(self.classes_column)
        own = [self._own_names(None if names is None else names[index]) for index in range(len(images))]
        rows = [self._predict(image, names) for image, names in zip(images, own, strict=True)]
        kept = {name: list(column) for name, column in batch.items() if name != self.image_column}
        return kept | {
            name: [row[name] for row in rows] for name in (LABEL_MAP, ANNOTATIONS, WIDTH, HEIGHT, ERROR)
        }

    def _own_names(self, value: Any) -> str | tuple[str, ...] | None:
        """Return the class names of a row; pandas has NaN where it has none."""
        if isinstance(value, float) and value != value:
            return None
        return _read_names(
            value,
            f'The column "{self.classes_column}" has the value {str(value)[:_QUOTED]}',
            "name the column of the class names with classes_column=",
        )

    def _predict(self, value: Any, names: str | tuple[str, ...] | None) -> dict[str, Any]:
        try:
            image = load_image(_image_source(value))
            segmentation = self.segmenter.segment(image, self._vocabulary(names), **self._settings)
            return self._describe(segmentation)
        except (ImageError, DeviceError) as error:
            return self._failure(str(error))
        except VocabularyError as error:
            if names is not None:
                return self._failure(str(error))
            raise
        except (RuntimeError, MemoryError, OSError, cv2.error) as error:
            if not is_out_of_memory(error):
                raise
            return self._failure("There is too little memory for this image; scale it down.")

    def _vocabulary(self, own: str | tuple[str, ...] | None) -> Vocabulary:
        if own is None and self.classes is None:
            raise VocabularyError(
                f'An image has no class names; give classes, or a column "{self.classes_column}".'
            )
        return Vocabulary.parse(own or self.classes, distractors=self._distractors)

    def _describe(self, segmentation: Segmentation) -> dict[str, Any]:
        record = coco_record(segmentation)
        names = {category["id"]: category["name"] for category in record["categories"]}
        annotations = [
            {"name": names[annotation["category_id"]]}
            | {key: annotation[key] for key in ("segmentation", "area", "bbox", "score")}
            for annotation in record["annotations"]
        ]
        label_map = segmentation.label_map
        height, width = label_map.shape
        return {
            LABEL_MAP: label_map if self.arrays else encode_label_map(label_map, segmentation.class_names),
            ANNOTATIONS: json.dumps(annotations, ensure_ascii=False),
            WIDTH: width,
            HEIGHT: height,
            ERROR: "",
        }

    def _failure(self, sentence: str) -> dict[str, Any]:
        empty = np.zeros((0, 0), np.int32) if self.arrays else b""
        return {LABEL_MAP: empty, ANNOTATIONS: "[]", WIDTH: 0, HEIGHT: 0, ERROR: sentence}


def _read_names(value: Any, subject: str, remedy: str) -> str | tuple[str, ...] | None:
    """Return class names as :func:`read_names` does.

    Raises:
        VocabularyError: they are of another kind; the sentence has the subject and the remedy.
    """
    try:
        return read_names(value)
    except TypeError:
        raise VocabularyError(f"{subject}, which is neither a text nor a list of texts; {remedy}.") from None


def _image_source(value: Any) -> Any:
    """Return an image in a form that :func:`load_image` takes.

    Raises:
        ImageError: it is in no known form.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str | Path | Image.Image | np.ndarray):
        return value
    if isinstance(value, list):
        return _listed_pixels(value)
    raise ImageError(f"An image is a path, bytes, a PIL image or an array, not a {type(value).__name__}.")


def _listed_pixels(values: list) -> np.ndarray:
    """Return the pixels of an image that is given as lists of numbers.

    Raises:
        ImageError: the lists differ in length, or whole numbers are outside 0 to 255.
    """
    try:
        pixels = np.asarray(values)
    except ValueError as error:
        raise ImageError("An image in lists has rows of different lengths; give it as an array.") from error
    if pixels.dtype.kind not in "iu":
        return pixels  # fractions from 0 to 1, or what load_image refuses
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
        raise ImageError(
            f"An image in lists has values from {pixels.min()} to {pixels.max()}; use 0 to 255, or fractions "
            "from 0 to 1."
        )
    return pixels.astype(np.uint8)


def _as_texts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with paths as texts, which are equal and have a hash in each process."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}


@lru_cache(maxsize=1)
def _load(process: int, options: bytes) -> Segmenter:
    """Return the segmenter of a process.

    It is kept here and not in a predictor, since Spark and others unpickle a predictor for each task. The
    number of the process is an argument, since a forked process cannot use its parent's networks.
    """
    from ovseg_demo.models.loading import load_segmenter

    if process != _IMPORTED_IN:
        # The threads of OpenMP and OpenCV do not survive a fork: a child that hands them work waits for ever.
        # Tools that fork start a process for each core anyway.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
    # An image of a data set comes once, so its analysis is not kept.
    return load_segmenter(**dict(pickle.loads(options)), caches=Caches(analyses=ByteCache(0)))
