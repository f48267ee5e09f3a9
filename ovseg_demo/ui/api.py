"""The endpoint for programs: plain inputs, plain outputs. docs/reference/http-api.md tells how to call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ovseg_demo.errors import ImageError
from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.label_map import encode_label_map
from ovseg_demo.ui.components import ImageInput
from ovseg_demo.ui.handlers import show_user_errors
from ovseg_demo.ui.messages import Message
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import read_image

API_NAME = "segment"

DESCRIPTION = (
    "Find things in an image by their names. The label map is a PNG of the image's size in which 0 is "
    "unlabelled, 1 the first class, and so on. The record is a COCO data set of one image: the categories "
    "tell each class's area, share of the image and score, the annotations hold a run-length mask of each "
    "that was found."
)


class Api:
    """What the endpoint does. It remembers nothing of its callers.

    Args:
        registry: the models; the default one is used.
        settings: limits, the same as on the page.
        publish: keeps bytes under a file name, and gives Gradio's record of that file.
    """

    def __init__(
        self, registry: ModelRegistry, settings: PageSettings, publish: Callable[[bytes, str], Message]
    ):
        self._registry = registry
        self._settings = settings
        self._publish = publish

    @show_user_errors
    def segment(
        self, image: str | None, prompt: str, generator: str = "", granularity: float = 0.8
    ) -> tuple[str, dict[str, Any]]:
        """Segment an image into classes.

        Args:
            image: a file: JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF.
            prompt: class names, separated by commas; a slash joins synonyms: "frog, cup / mug".
            generator: who proposes the masks, "sam" or "maskformer"; empty for the model's first.
            granularity: of the masks, from 0 (most coarse) to 1 (most precise).
        """
        if not image:
            raise ImageError("There is no image; send one as the first argument.")
        request = Request(prompt=prompt or "", generator=generator or "", granularity=granularity)
        request.check()
        vocabulary = request.vocabulary(self._settings.max_names)
        pixels, _ = read_image(image, self._settings)
        segmentation = self._registry.segmenter("").segment(
            pixels, vocabulary, generator=request.generator or None, rule=request.rule
        )
        label_map = encode_label_map(segmentation.label_map, segmentation.class_names)
        record = coco_record(segmentation, settings={"model": self._registry.default.name})
        return self._publish(label_map, "label_map.png")["path"], record


def add_api(
    registry: ModelRegistry, settings: PageSettings, publish: Callable[[bytes, str], Message]
) -> None:
    """Add the endpoint to the page that is being made; its components are not to be seen.

    Its calls have a queue of their own, apart from the page's analyses.
    """
    api = Api(registry, settings, publish)
    generators = registry.default.generators
    with gr.Column(visible=False):
        inputs = [
            ImageInput(
                label="Image",
                type="filepath",
                image_mode=None,
                fetches_addresses=settings.fetch_addresses,
            ),
            gr.Textbox(label="Class names"),
            gr.Radio(generators, value=generators[0], label="Proposal generator"),
            gr.Slider(0, 1, value=Request().granularity, label="Granularity"),
        ]
        outputs = [gr.File(label="Label map"), gr.JSON(label="Record")]
        gr.Button("Segment").click(
            api.segment,
            inputs,
            outputs,
            api_name=API_NAME,
            api_description=DESCRIPTION,
            api_visibility="public",
            concurrency_id="program",
            concurrency_limit=settings.concurrent_analyses,
        )
