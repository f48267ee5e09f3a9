"""The components of the page and their places; :mod:`.events` connects them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from html import escape

import gradio as gr

from ovseg_demo.models.weights_files import format_size
from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.ui.assets import read_assets
from ovseg_demo.ui.components import (
    Camera,
    Chips,
    Gallery,
    Header,
    ImageInput,
    Pills,
    Suggestions,
    Viewer,
)
from ovseg_demo.ui.examples import Example, examples_for, gallery_value
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.model_registry import GENERATOR_TITLES, ModelEntry, ModelRegistry
from ovseg_demo.ui.request import DISTRACTORS, GRIDS, TEMPLATE_CHOICES, Request
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings

_CLASSIFIER_KEYS = ("adapted", "no_prompts", "unadapted")
_DISTRACTOR_KEYS = ("none", "others", "coco_stuff", "own")
_TEMPLATE_KEYS = ("model", "vild", "photo", "imagenet")

# Fixed, as a restart of the server must not lose what browsers keep.
_STORAGE_KEY = _STORAGE_SECRET = "ovseg-demo"


@dataclass(frozen=True)
class Components:
    """The components that events read or change."""

    session: gr.State
    saved: gr.BrowserState
    header: Header
    image: ImageInput
    prompt: gr.Textbox
    submit: gr.Button
    clear: gr.Button
    chips: Chips
    suggestions: Suggestions
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
    min_score: gr.Slider
    points_per_side: gr.Radio
    min_scores: gr.Textbox
    licence: gr.HTML

    @property
    def request(self) -> dict[str, gr.components.Component]:
        """The components that make a :class:`Request`, by its field names."""
        return {field.name: getattr(self, field.name) for field in fields(Request)}


def build_layout(registry: ModelRegistry, settings: PageSettings, examples: Sequence[Example]) -> Components:
    """Create all components on the page that is being made, and return those that events need."""
    texts = settings.texts
    parts: dict[str, gr.components.Component] = {
        "session": gr.State(Session()),
        "saved": gr.BrowserState({}, storage_key=_STORAGE_KEY, secret=_STORAGE_SECRET),
    }
    parts["header"] = Header(texts, elem_id="header", padding=False)
    with gr.Row(elem_id="page"):
        with gr.Column(elem_id="controls", scale=0, min_width=300):
            parts |= _controls(registry, settings, Request())
        with gr.Column(elem_id="main", scale=1, min_width=300):
            with gr.Row(elem_id="ask"):
                parts |= _ask(texts)
            parts["chips"] = Chips(texts, elem_id="chips", padding=False)
            parts["suggestions"] = Suggestions(texts, elem_id="suggestions", padding=False)
            parts["viewer"] = Viewer(texts, elem_id="viewer", padding=False)
            parts["gallery"] = Gallery(
                texts,
                value=gallery_value(examples_for(examples, registry.default.knows_photographs)),
                elem_id="gallery",
                padding=False,
            )
            parts["recent"] = Pills(texts, elem_id="recent", padding=False)
    gr.HTML(
        html_template=read_assets("how_it_works.html", texts=texts),
        js_on_load=None,
        apply_default_css=False,
        elem_id="how",
        padding=False,
    )
    parts["licence"] = gr.HTML(licence_line(registry.default, texts), elem_id="licence", padding=False)
    return Components(**parts)


def _controls(
    registry: ModelRegistry, settings: PageSettings, default: Request
) -> dict[str, gr.components.Component]:
    """Create the image input and the settings."""
    texts = settings.texts
    image = ImageInput(
        label=texts["controls.image"],
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam"],  # the whole page takes Ctrl+V; "clipboard" would hide the file's input
        buttons=[],
        height=230,
        elem_id="image",
    )
    Camera(texts, elem_id="camera", padding=False)
    with gr.Column(elem_id="settings"):
        generator = gr.Radio(
            generator_choices(registry.default),
            value=registry.default.generators[0],
            label=texts["controls.generator"],
            elem_id="generator",
        )
        granularity = gr.Slider(
            0,
            1,
            value=default.granularity,
            step=0.05,
            label=texts["controls.granularity"],
            buttons=[],
            elem_id="granularity",
            elem_classes=["live"],
        )
        with gr.Accordion(texts["controls.advanced"], open=False, elem_id="advanced"):
            advanced = _advanced(registry, settings, default)
    return {"image": image, "generator": generator, "granularity": granularity, **advanced}


def _ask(texts: Texts) -> dict[str, gr.components.Component]:
    """Create the prompt and its buttons."""
    return {
        "prompt": gr.Textbox(
            placeholder=texts["controls.prompt_placeholder"],
            show_label=False,
            label=texts["controls.prompt"],
            container=False,
            lines=1,
            max_lines=4,
            elem_id="prompt",
            elem_classes=["live"],
            html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False, enterkeyhint="go"),
        ),
        "submit": gr.Button(texts["controls.submit"], variant="primary", elem_id="submit", min_width=110),
        "clear": gr.Button(texts["controls.clear"], elem_id="clear", min_width=70),
    }


def _advanced(
    registry: ModelRegistry, settings: PageSettings, default: Request
) -> dict[str, gr.components.Component]:
    texts = settings.texts
    several = len(list(registry)) > 1
    return {
        "model": gr.Dropdown(
            model_choices(registry, texts),
            value=registry.default.name,
            label=texts["advanced.model"],
            visible=several,
            filterable=False,
            elem_id="model",
        ),
        "model_facts": gr.HTML(model_facts(registry.default, texts), elem_id="model-facts", padding=False),
        "download": gr.Button(
            texts["advanced.download"],
            size="sm",
            visible=is_downloadable(registry.default, settings),
            elem_id="download",
        ),
        "classifier": gr.Radio(
            _choices(texts, "classifier", _CLASSIFIER_KEYS, CLASSIFIERS),
            value=default.classifier,
            label=texts["advanced.classifier"],
            elem_id="classifier",
        ),
        "points_per_side": gr.Radio(
            [(texts["advanced.points_model"], 0), *((f"{side} × {side}", side) for side in GRIDS)],
            value=default.points_per_side,
            label=texts["advanced.points"],
            info=texts["advanced.points_info"],
            elem_id="points",
        ),
        "distractors": gr.Radio(
            _choices(texts, "distractors", _DISTRACTOR_KEYS, DISTRACTORS),
            value=default.distractors,
            label=texts["advanced.distractors"],
            info=texts["advanced.distractors_info"],
            elem_id="distractors",
            elem_classes=["live"],
        ),
        "own_distractors": gr.Textbox(
            label=texts["advanced.own_distractors"],
            placeholder=texts["advanced.own_distractors_placeholder"],
            visible=False,
            elem_id="own-distractors",
            elem_classes=["live"],
        ),
        "templates": gr.Radio(
            _choices(texts, "templates", _TEMPLATE_KEYS, TEMPLATE_CHOICES),
            value=default.templates,
            label=texts["advanced.templates"],
            elem_id="templates",
            elem_classes=["live"],
        ),
        "min_score": gr.Slider(
            0,
            1,
            value=default.min_score,
            step=0.05,
            label=texts["advanced.min_score"],
            info=texts["advanced.min_score_info"],
            buttons=[],
            elem_id="min-score",
            elem_classes=["live"],
        ),
        # Set in the legend.
        "min_scores": gr.Textbox(default.min_scores, label=texts["least.title"], visible=False),
    }


def _choices(texts: Texts, setting: str, keys: Sequence[str], values: Sequence[str]) -> list[tuple[str, str]]:
    """Return titles and values of a setting's choices."""
    return [(texts[f"advanced.{setting}_{key}"], value) for key, value in zip(keys, values, strict=True)]


def model_choices(registry: ModelRegistry, texts: Texts) -> list[tuple[str, str]]:
    """Return the models as the choices (title, name) of a menu, which says which are not on this machine."""
    missing = texts["advanced.not_downloaded"]
    return [
        (entry.title if entry.is_present else f"{entry.title} ({missing})", entry.name) for entry in registry
    ]


def generator_choices(entry: ModelEntry) -> list[tuple[str, str]]:
    """Return the proposal generators of a model, as the choices (title, name) of a menu."""
    return [(GENERATOR_TITLES[name], name) for name in entry.generators]


def model_facts(entry: ModelEntry, texts: Texts) -> str:
    """Return what there is to know of a model, as HTML."""
    facts = [escape(entry.description)]
    if entry.spec is not None:
        state = escape(texts["advanced.ready" if entry.is_present else "advanced.not_downloaded"])
        size = format_size(entry.spec.size) if entry.spec.size else escape(texts["advanced.size_unknown"])
        time = escape(texts.format("advanced.seconds", seconds=f"{entry.spec.seconds:g}"))
        facts.append(f"{size} · {time} · {escape(entry.licence)} · <b>{state}</b>")
    return "<p>" + "<br>".join(facts) + "</p>"


def licence_line(entry: ModelEntry, texts: Texts) -> str:
    """Return which model is on the page and whose its weights are, as HTML, for the foot of the page."""
    weights = (
        texts.format("licence.weights", licence=entry.licence)
        if entry.licence
        else texts["licence.weights_unknown"]
    )
    model, program = escape(texts["licence.model"]), escape(texts["licence.program"])
    return f"<p>{model} <b>{escape(entry.title)}</b>, {escape(weights)}. {program}</p>"


def is_downloadable(entry: ModelEntry, settings: PageSettings) -> bool:
    """Return whether visitors may download a model that is missing."""
    return settings.allow_downloads and not entry.is_present
