"""The endpoints for programs. docs/reference/http-api.md tells how to call them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from ovseg_demo.classification.suggestions import (
    DEFAULT_SUGGESTIONS,
    MAX_SUGGESTIONS,
    Suggestion,
    check_count,
)
from ovseg_demo.errors import ImageError, ModelError, OvsegError, VocabularyError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.formats import FORMATS, encode, find_format
from ovseg_demo.export.names import slug
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.images import read_source
from ovseg_demo.runtime.threads import run_below
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.ui.admission import PROGRAM
from ovseg_demo.ui.components import ImageInput
from ovseg_demo.ui.exports import BYTES_PER_PIXEL
from ovseg_demo.ui.json_values import is_number
from ovseg_demo.ui.messages import Message
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import GRIDS, Request
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import read_image
from ovseg_demo.vocabulary import Vocabulary

SEGMENT, SUGGEST = "segment", "suggest"
"""The names of the endpoints."""

DEFAULT_FORMAT = "label-map"

_GRIDS = f"{', '.join(map(str, GRIDS))}, or 0 for the model's own"

DESCRIPTION = (
    "Find things in an image by their names. The file has the format that is asked for, and the size of the "
    "image. By default it is a label map: a PNG in which 0 is unlabelled, 1 the first class, and so on. A "
    "format of several files comes as a zip archive. The record is a COCO data set of one image: the "
    "categories tell each class's area, share of the image and score, the annotations hold a run-length mask "
    "of each that was found."
)

SUGGEST_DESCRIPTION = (
    "Suggest class names for an image: names of things that are probably in it, the best first, each with a "
    "score from 0 to 1."
)


class Api:
    """What the endpoints do. They remember nothing of their callers.

    Args:
        registry: the models; the default one is used.
        settings: limits, the same as on the page.
        publish: keeps bytes under a file name, and gives Gradio's record of that file.
        budget: what the images of all callers and visitors may take together while they are decoded.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: PageSettings,
        publish: Callable[[bytes, str], Message],
        budget: MemoryBudget,
    ):
        self._registry = registry
        self._settings = settings
        self._publish = publish
        self._budget = budget

    def segment(
        self,
        image: str | None,
        prompt: str,
        generator: str = "",
        granularity: float = 0.8,
        format: str = DEFAULT_FORMAT,
        points_per_side: int = 0,
    ) -> tuple[str, dict[str, Any]]:
        """Segment an image into classes.

        Args:
            image: a file: JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC.
            prompt: class names, separated by commas; a slash joins synonyms: "frog, cup / mug". Or a list
                of them: ["frog", "cup / mug"].
            generator: who proposes the masks, "sam" or "maskformer"; empty for the model's first.
            granularity: of the masks, from 0 (most coarse) to 1 (most precise).
            format: of the file: "label-map", "overlay", "coco", "coco-polygons", "yolo", "label-studio",
                "label-studio-polygons", "cvat", "voc", "geojson", "cut-outs", "cut-outs-parts" or "masks".
            points_per_side: of Segment Anything's grid of points: 16, 32 or 64; 0 for the model's own.
        """
        if not image:
            raise ImageError("There is no image; send one as the first argument.")
        names = _read_list(prompt or "")
        prompt = (prompt or "") if names is None else "\n".join(names)
        export_format = find_format(format)
        request = Request(
            prompt=prompt,
            generator=generator or "",
            granularity=granularity,
            points_per_side=int(points_per_side),
        )
        request.check()
        vocabulary = request.vocabulary(self._settings.max_names, names)
        segmentation = run_below(partial(self._segment, image, vocabulary, request))
        source = read_source(image)
        settings = {"model": self._registry.default.name}
        with self._budget.take(BYTES_PER_PIXEL * source.width * source.height):
            content = encode(segmentation, format, ExportOptions(settings, source=source, file=image))
            record = coco_record(segmentation, settings=settings, source=source)
        name = f"{slug(Path(source.file_name).stem)}-{export_format.suffix}"
        return self._publish(content, name)["path"], record

    def suggest(
        self, image: str | None, generator: str = "", count: int = DEFAULT_SUGGESTIONS
    ) -> list[dict[str, Any]]:
        """Suggest class names for an image.

        Args:
            image: a file: JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC.
            generator: who proposes the masks, "sam" or "maskformer"; empty for the model's first.
            count: how many names at most, from 1 to 100.
        """
        if not image:
            raise ImageError("There is no image; send one as the first argument.")
        request = Request(generator=generator or "")
        request.check()
        check_count(count)
        suggestions = run_below(partial(self._suggest, image, request, int(count)))
        return [{"name": one.name, "score": one.score} for one in suggestions]

    def _suggest(self, image: str, request: Request, count: int) -> tuple[Suggestion, ...]:
        pixels, _ = read_image(image, self._settings, self._budget)
        analysis = self._registry.segmenter("").analyze(pixels, generator=request.generator or None)
        return analysis.suggest(count)

    def _segment(self, image: str, vocabulary: Vocabulary, request: Request) -> Segmentation:
        pixels, _ = read_image(image, self._settings, self._budget)
        generator = self._registry.default.suitable(request.generator)
        return self._registry.segmenter("").segment(
            pixels,
            vocabulary,
            generator=request.generator or None,
            points_per_side=request.points_for(generator),
            rule=request.rule,
        )


def complete_inputs(values: list[Any]) -> list[Any]:
    """Check the inputs of "segment" as a program sent them, and return all of them.

    Raises:
        OvsegError: a value is missing or of another type.
    """
    if len(values) < 2:
        raise OvsegError(
            f"{len(values)} values were sent; the endpoint needs two, an image and class names, and takes a "
            "generator, a granularity, a format and a grid of points after them."
        )
    image, prompt, generator, granularity, format_name, points = [*values[:6], None, None, None, None][:6]
    _check_image(image)
    if isinstance(prompt, list) and all(isinstance(name, str) for name in prompt):
        prompt = json.dumps(prompt)
    if prompt is not None and not isinstance(prompt, str):
        raise VocabularyError(
            f'{_quote(prompt)} is no text; send class names, such as "frog, cup", or a list of them.'
        )
    _check_generator(generator)
    if granularity is None:
        granularity = Request().granularity
    if not is_number(granularity):
        raise ModelError(f"{_quote(granularity)} is no number; send a granularity from 0 to 1.")
    format_name = DEFAULT_FORMAT if format_name is None else format_name
    if not isinstance(format_name, str):
        raise OvsegError(
            f"{_quote(format_name)} is no text; send the name of a format: {', '.join(FORMATS)}."
        )
    find_format(format_name)
    points = Request.points_per_side if points is None else points
    if not is_number(points) or points != int(points):
        raise ModelError(f"{_quote(points)} is no whole number; send a grid of points: {_GRIDS}.")
    return [image, prompt, generator or None, granularity, format_name, points]


def complete_suggestion_inputs(values: list[Any]) -> list[Any]:
    """Check the inputs of "suggest" as a program sent them, and return all of them.

    Raises:
        OvsegError: a value is missing or of another type.
    """
    if not values:
        raise OvsegError(
            "No value was sent; the endpoint needs an image, and takes a generator and a count after it."
        )
    image, generator, count = [*values[:3], None, None][:3]
    _check_image(image)
    _check_generator(generator)
    if count is None:
        count = DEFAULT_SUGGESTIONS
    if not is_number(count) or count != int(count):
        raise ModelError(f"{_quote(count)} is no whole number; send a count from 1 to {MAX_SUGGESTIONS}.")
    return [image, generator or None, count]


CHECKS: Mapping[str, Callable[[list[Any]], list[Any]]] = MappingProxyType(
    {SEGMENT: complete_inputs, SUGGEST: complete_suggestion_inputs}
)
"""For each endpoint what checks and completes its inputs."""


def _check_image(value: object) -> None:
    if value is not None and not _is_file(value):
        raise ImageError(
            f"{_quote(value)} is no uploaded file; upload the image, and send "
            '{"path": …, "meta": {"_type": "gradio.FileData"}} with the path that the upload returns.'
        )


def _check_generator(value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise ModelError(f'{_quote(value)} is no text; send the name of a generator, such as "sam".')


def _is_file(value: object) -> bool:
    """Return whether a value is Gradio's record of a file: only those are checked to be uploads."""
    if not isinstance(value, dict) or not (value.get("path") or value.get("url")):
        return False
    meta = value.get("meta")
    return isinstance(meta, dict) and meta.get("_type") == "gradio.FileData"


def _quote(value: object) -> str:
    """Return a value as JSON, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read_list(prompt: str) -> list[str] | None:
    """Return the class names of a JSON list of texts; ``None`` for any other text."""
    if not prompt.lstrip().startswith("["):
        return None
    try:
        names = json.loads(prompt)
    except ValueError:
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def add_api(
    registry: ModelRegistry,
    settings: PageSettings,
    publish: Callable[[bytes, str], Message],
    budget: MemoryBudget,
) -> None:
    """Add the endpoints to the page that is being made; their components are not to be seen.

    Their calls have a queue of their own, apart from the page's analyses.
    """
    api = Api(registry, settings, publish, budget)
    generators = registry.default.generators
    public = {
        "api_visibility": "public",
        "concurrency_id": PROGRAM,
        "concurrency_limit": settings.concurrent_programs,
    }
    with gr.Column(visible=False):
        image = ImageInput(
            label="Image",
            type="filepath",
            image_mode=None,
            fetches_addresses=settings.fetch_addresses,
        )
        prompt = gr.Textbox(label="Class names")
        generator = gr.Radio(generators, value=generators[0], label="Proposal generator")
        granularity = gr.Slider(0, 1, value=Request().granularity, label="Granularity")
        count = gr.Number(DEFAULT_SUGGESTIONS, precision=0, label="Count")
        file_format = gr.Dropdown(list(FORMATS), value=DEFAULT_FORMAT, label="Format")
        points = gr.Number(Request.points_per_side, precision=0, label="Points per side")
        outputs = [gr.File(label="File"), gr.JSON(label="Record")]
        gr.Button("Segment").click(
            api.segment,
            [image, prompt, generator, granularity, file_format, points],
            outputs,
            api_name=SEGMENT,
            api_description=DESCRIPTION,
            **public,
        )
        gr.Button("Suggest").click(
            api.suggest,
            [image, generator, count],
            gr.JSON(label="Suggestions"),
            api_name=SUGGEST,
            api_description=SUGGEST_DESCRIPTION,
            **public,
        )
