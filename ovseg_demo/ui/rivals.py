"""What a map can be compared with: the same image, answered in another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.model_registry import GENERATOR_TITLES, ModelEntry, ModelRegistry
from ovseg_demo.ui.request import Request

CLIPS = "clips"
"""The key of the rival with the same masks and the other CLIP."""

_UNADAPTED = CLASSIFIERS[2]
_SIDES = dict(
    zip(CLASSIFIERS, ("viewer.side_adapted", "viewer.side_no_prompts", "viewer.side_unadapted"), strict=True)
)


@dataclass(frozen=True)
class Rival:
    """Another way to answer a request.

    Attributes:
        key: identifies it: :data:`CLIPS`, "generator:NAME" or "model:NAME".
        title: what stands over its side of the image.
        own: what stands over the side of the request's own answer.
        request: the request as the rival answers it.
        obstacle: why it cannot answer; empty if it can.
    """

    key: str
    title: str
    own: str
    request: Request
    obstacle: str = ""


def rivals(request: Request, registry: ModelRegistry, texts: Texts) -> Iterator[Rival]:
    """Yield the rivals of a request: the other CLIP, the model's other generators, and the models here."""
    entry = registry.find(request.model)
    classifier = CLASSIFIERS[0] if request.classifier == _UNADAPTED else _UNADAPTED
    yield Rival(
        CLIPS,
        texts[_SIDES[classifier]],
        texts[_SIDES[request.classifier]],
        replace(request, classifier=classifier),
        _obstacle(classifier, entry, registry),
    )
    generator = entry.suitable(request.generator)
    for name in entry.generators:
        if name != generator:
            titles = GENERATOR_TITLES[name], GENERATOR_TITLES[generator]
            yield Rival(f"generator:{name}", *titles, replace(request, generator=name))
    for other in registry:
        if other.is_present and other.name != entry.name:
            of_other = replace(
                request,
                model=other.name,
                generator=other.suitable(request.generator),
                classifier=CLASSIFIERS[0],
                templates=Request.templates,
                points_per_side=Request.points_per_side,
            )
            yield Rival(f"model:{other.name}", other.title, entry.title, of_other)


def find_rival(key: str, request: Request, registry: ModelRegistry, texts: Texts) -> Rival | None:
    """Return the rival of a key, if there is one; there is none of an empty key."""
    if not key:
        return None
    return next((rival for rival in rivals(request, registry, texts) if rival.key == key), None)


def _obstacle(classifier: str, entry: ModelEntry, registry: ModelRegistry) -> str:
    """Return why a model cannot compare its two CLIPs; empty if it can."""
    if classifier in registry.segmenter(entry.name).classifiers:
        return ""
    if entry.spec is not None and "unadapted" in entry.spec.parts:
        return (
            "The un-adapted CLIP is not here yet; get it with "
            f'"python -m ovseg_demo download {entry.name} --all" and start the page again.'
        )
    return f'The model "{entry.title}" has no un-adapted CLIP to compare with.'
