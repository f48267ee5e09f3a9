"""The components of the page and their places; :mod:`.events` connects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape

import gradio as gr

from ovseg_demo.models.weights_files import format_size
from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.ui.assets import read_assets
from ovseg_demo.ui.components import Chips, Gallery, Header, ImageInput, Pills, Viewer
from ovseg_demo.ui.examples import Example, examples_for, gallery_value
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.request import DISTRACTORS, TEMPLATE_CHOICES, Request
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings

GENERATOR_TITLES = {"sam": "Segment Anything", "maskformer": "MaskFormer", "detectron2": "detectron2"}

_CLASSIFIER_TITLES = ("Mask-adapted CLIP", "Mask-adapted, without mask prompts", "Un-adapted CLIP")
_DISTRACTOR_TITLES = ("None", "“others”", "COCO-Stuff’s 171 classes", "Own names")
_TEMPLATE_TITLES = ("The model’s own", "ViLD’s 14 sentences", "“a photo of …”")

# Fixed, as a restart of the server must not lose what browsers keep.
_STORAGE_KEY = _STORAGE_SECRET = "ovseg-demo"


@dataclass(frozen=True)
class Components:
    """The components that events read or change."""

    session: gr.State
    saved: gr.BrowserState
    image: ImageInput
    prompt: gr.Textbox
    submit: gr.Button
    clear: gr.Button
    chips: Chips
    recent: Pills
    viewer: Viewer
    gallery: Gallery
    generator: gr.Radio
    granularity: gr.Slider
    model: gr.Dropdown
    model_facts: gr.HTML
    download: gr.Button
    classifier: gr.Radio
    distractors: gr.Radio
    own_distractors: gr.Textbox
    templates: gr.Radio
    licence: gr.HTML

    @property
    def request(self) -> dict[str, gr.components.Component]:
        """The components that make a :class:`Request`, by its field names."""
        return {field.name: getattr(self, field.name) for field in fields(Request)}


def build_layout(registry: ModelRegistry, settings: PageSettings, examples: Sequence[Example]) -> Components:
    """Create all components on the page that is being made, and return those that events need."""
    parts: dict[str, gr.components.Component] = {
        "session": gr.State(Session()),
        "saved": gr.BrowserState({}, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET),
    }
    Header(elem_id="header", padding=False)
    with gr.Row(elem_id="page"):
        with gr.Column(elem_id="controls", scale=0, min_width=300):
            parts |= _controls(registry, settings, Request())
        with gr.Column(elem_id="main", scale=1, min_width=300):
            with gr.Row(elem_id="ask"):
                parts |= _ask()
            parts["chips"] = Chips(elem_id="chips", padding=False)
            parts["viewer"] = Viewer(elem_id="viewer", padding=False)
            parts["gallery"] = Gallery(
                value=gallery_value(examples_for(examples, not registry.default.is_bundled)),
                elem_id="gallery",
                padding=False,
            )
            parts["recent"] = Pills(elem_id="recent", padding=False)
    gr.HTML(
        html_template=read_assets("how_it_works.html"),
        js_on_load=None,
        apply_default_css=False,
        elem_id="how",
        padding=False,
    )
    parts["licence"] = gr.HTML(licence_line(registry.default), elem_id="licence", padding=False)
    return Components(**parts)


def _controls(
    registry: ModelRegistry, settings: PageSettings, default: Request
) -> dict[str, gr.components.Component]:
    """Create the image input and the settings."""
    image = ImageInput(
        label="UploadedImage",
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        buttons=[],
        height=230,
        elem_id="image",
    )
    with gr.Column(elem_id="settings"):
        generator = gr.Radio(
            generator_choices(registry.default),
            value=registry.default.generators[0],
            label="Proposal generator",
            elem_id="generator",
        )
        granularity = gr.Slider(
            0,
            1,
            value=default.granularity,
            step=0.05,
            label="Granularity of masks from 0 (most coarse) to 1 (most precise)",
            buttons=[],
            elem_id="granularity",
            elem_classes=["live"],
        )
        with gr.Accordion("Advanced", open=False, elem_id="advanced"):
            advanced = _advanced(registry, settings, default)
    return {"image": image, "generator": generator, "granularity": granularity, **advanced}


def _ask() -> dict[str, gr.components.Component]:
    """Create the prompt and its buttons."""
    return {
        "prompt": gr.Textbox(
            placeholder="Type class names, separated by commas: frog, red truck, road …",
            show_label=False,
            label="Class names",
            container=False,
            lines=1,
            max_lines=4,
            elem_id="prompt",
            elem_classes=["live"],
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False, enterkeyhint="go"),
        ),
        "submit": gr.Button("Submit", variant="primary", elem_id="submit", min_width=110),
        "clear": gr.Button("Clear", elem_id="clear", min_width=70),
    }


def _advanced(
    registry: ModelRegistry, settings: PageSettings, default: Request
) -> dict[str, gr.components.Component]:
    several = len(list(registry)) > 1
    return {
        "model": gr.Dropdown(
            [(entry.title, entry.name) for entry in registry],
            value=registry.default.name,
            label="Model",
            visible=several,
            filterable=False,
            elem_id="model",
        ),
        "model_facts": gr.HTML(model_facts(registry.default), elem_id="model-facts", padding=False),
        "download": gr.Button(
            "Download", size="sm", visible=is_downloadable(registry.default, settings), elem_id="download"
        ),
        "classifier": gr.Radio(
            list(zip(_CLASSIFIER_TITLES, CLASSIFIERS, strict=True)),
            value=default.classifier,
            label="Classifier of the masks",
            elem_id="classifier",
        ),
        "distractors": gr.Radio(
            list(zip(_DISTRACTOR_TITLES, DISTRACTORS, strict=True)),
            value=default.distractors,
            label="Hidden distractors",
            info="Names that compete for masks and are never drawn",
            elem_id="distractors",
            elem_classes=["live"],
        ),
        "own_distractors": gr.Textbox(
            label="Own distractors",
            placeholder="wall, floor, sky",
            visible=False,
            elem_id="own-distractors",
            elem_classes=["live"],
        ),
        "templates": gr.Radio(
            list(zip(_TEMPLATE_TITLES, TEMPLATE_CHOICES, strict=True)),
            value=default.templates,
            label="Prompt templates",
            elem_id="templates",
            elem_classes=["live"],
        ),
    }


def generator_choices(entry: ModelEntry) -> list[tuple[str, str]]:
    """The proposal generators of a model, for a menu."""
    return [(GENERATOR_TITLES[name], name) for name in entry.generators]


def model_facts(entry: ModelEntry) -> str:
    """What there is to know of a model, as HTML."""
    facts = [escape(entry.description)]
    if entry.spec is not None:
        state = "ready" if entry.is_present else "not downloaded"
        facts.append(f"{format_size(entry.spec.size)} · {escape(entry.licence)} · <b>{state}</b>")
    return "<p>" + "<br>".join(facts) + "</p>"


def licence_line(entry: ModelEntry) -> str:
    """Whose the weights are, as HTML, for the foot of the page."""
    licence = f"its weights: {escape(entry.licence)}" if entry.licence else "its weights: ask who gave them"
    return f"<p>Model on this page: <b>{escape(entry.title)}</b>, {licence}. This program: Apache-2.0.</p>"


def is_downloadable(entry: ModelEntry, settings: PageSettings) -> bool:
    """Return whether visitors may download a model that is missing."""
    return settings.allow_downloads and not entry.is_present
