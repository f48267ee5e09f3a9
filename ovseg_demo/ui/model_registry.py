"""The models that visitors can choose. Each is loaded when it is first used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ovseg_demo.errors import ModelError
from ovseg_demo.models.catalogue import CATALOGUE, ModelSpec
from ovseg_demo.runtime.caching import ByteCache, LazyModel
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.ui.costs import AnalysisCosts, Kind

MAX_LOADED = 2
"""Number of models that stay in memory besides the bundled ones, which are small; others take gigabytes."""

CUSTOM = "custom"

GENERATOR_TITLES = MappingProxyType(
    {"sam": "Segment Anything", "maskformer": "MaskFormer", "detectron2": "detectron2"}
)
"""What menus call the proposal generators."""


@dataclass(frozen=True, eq=False)
class ModelEntry:
    """A model in the menu.

    Attributes:
        name: unique.
        title: for the menu.
        description: one or two sentences.
        generators: of proposals, the default first.
        licence: of the weights; empty where only the operator knows.
        spec: the catalogue's entry, if the model comes from there.
    """

    name: str
    title: str
    description: str
    generators: tuple[str, ...]
    licence: str = ""
    spec: ModelSpec | None = None

    def suitable(self, generator: str) -> str:
        """Return the generator if the model has it, else the model's default."""
        return generator if generator in self.generators else self.generators[0]

    @property
    def quickest(self) -> str:
        """The generator that takes the least time: MaskFormer reads the image once, for all masks."""
        return self.suitable("maskformer")

    @property
    def is_present(self) -> bool:
        """Whether its weights are on this machine."""
        return self.spec is None or self.spec.present()

    @property
    def is_bundled(self) -> bool:
        """Whether it ships with the project; these models are small."""
        return self.spec is not None and self.spec.bundled

    @property
    def knows_photographs(self) -> bool:
        """Whether it was trained on photographs; an operator's own weights are taken to be."""
        return self.spec is None or self.spec.knows_photographs


class ModelRegistry:
    """The models by name, and their segmenters; safe to use from many threads.

    Args:
        entries: in the order of the menu; the first is the default.
        load: makes the segmenter of a name.
        analysis_cache: the cache that these segmenters share, where they have one in this process.

    Attributes:
        costs: what analyses took on this machine.
    """

    def __init__(
        self,
        entries: Sequence[ModelEntry],
        load: Callable[[str], Segmenter],
        analysis_cache: ByteCache | None = None,
    ):
        self.analysis_cache = analysis_cache
        self.costs = AnalysisCosts(self._published_seconds)
        self._entries = {entry.name: entry for entry in entries}
        self._load = load
        self._loaded: OrderedDict[str, LazyModel[Segmenter]] = OrderedDict()
        self._watchers: list[Callable[[Collection[str]], None]] = []
        self._lock = threading.Lock()

    @classmethod
    def of_segmenter(
        cls, segmenter: Segmenter, title: str = "Own weights", description: str = ""
    ) -> ModelRegistry:
        """Return a registry of one model, which is loaded already."""
        description = description or "The weights that the operator of this page has chosen."
        entry = ModelEntry(CUSTOM, title, description, segmenter.generators)
        return cls([entry], lambda name: segmenter, segmenter.caches.analyses)

    @classmethod
    def of_catalogue(cls, default: str, load: Callable[..., Segmenter]) -> ModelRegistry:
        """Return a registry of all models of the catalogue that can segment.

        Args:
            default: the name of the model that is chosen at first.
            load: called with a name and ``caches=…``, as :func:`ovseg_demo.load_segmenter`.

        Raises:
            ModelError: the default is no such model.
        """
        entries = {
            name: _entry(spec) for name, spec in CATALOGUE.items() if spec.classifies and spec.generators
        }
        if default not in entries:
            raise ModelError(
                f'"{default}" is no model that can segment by itself; choose one of {", ".join(entries)}.'
            )
        ordered = [entries.pop(default), *entries.values()]
        caches = Caches()
        return cls(ordered, lambda name: load(name, caches=caches), caches.analyses)

    def prefer(self, generator: str) -> ModelRegistry:
        """Return the same registry with another default generator of the default model.

        Raises:
            ModelError: the model has no such generator.
        """
        if generator not in self.default.generators:
            raise ModelError(
                f'The model "{self.default.name}" has no generator "{generator}"; '
                f"choose one of {', '.join(self.default.generators)}."
            )
        others = [name for name in self.default.generators if name != generator]
        first = replace(self.default, generators=(generator, *others))
        return ModelRegistry([first, *list(self)[1:]], self._load, self.analysis_cache)

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    @property
    def default(self) -> ModelEntry:
        """The model that is chosen at first."""
        return next(iter(self._entries.values()))

    def find(self, name: str) -> ModelEntry:
        """Return the entry of a name; the default for an empty name.

        Raises:
            ModelError: there is none.
        """
        if not name:
            return self.default
        if name not in self._entries:
            raise ModelError(f'There is no model "{name}" here; choose one of {", ".join(self._entries)}.')
        return self._entries[name]

    def larger(self, entry: ModelEntry) -> ModelEntry | None:
        """Return the model to turn to where another is not enough, if there is one here."""
        return self._entries.get(entry.spec.larger) if entry.spec is not None else None

    def segmenter(self, name: str) -> Segmenter:
        """Return the segmenter of a model, loaded if need be.

        Raises:
            OvsegError: there is no such model, or it has not been downloaded.
        """
        name = self.find(name).name
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = LazyModel(lambda: self._load(name))
            segmenter = self._loaded[name]
            self._loaded.move_to_end(name)
            unloaded = self._make_room()
        for watcher in self._watchers if unloaded else ():
            watcher(unloaded)
        return segmenter.get()  # loads one model while others are used

    def watch(self, watcher: Callable[[Collection[str]], None]) -> None:
        """Have a function called with the names of models that make room for another one.

        Whoever holds an analysis of such a model also holds its text tower. The default model has two names:
        its own and the empty one.
        """
        self._watchers.append(watcher)

    def _make_room(self) -> set[str]:
        """Unload the models that were not used for longest; return their names."""
        downloaded = [name for name in self._loaded if not self._entries[name].is_bundled]
        unloaded = set(downloaded[:-MAX_LOADED])
        for name in unloaded:
            del self._loaded[name]
        return unloaded | ({""} if self.default.name in unloaded else set())

    def _published_seconds(self, kind: Kind) -> float:
        """Return the catalogue's seconds of an analysis by a model's first generator; 0 for others."""
        spec = self._entries[kind.model].spec
        if spec is None or kind.points_per_side or kind.generator != spec.generators[0]:
            return 0
        return spec.seconds

    def forget(self, name: str) -> None:
        """Load a model again when it is next used, because new files of it have been downloaded."""
        with self._lock:
            self._loaded.pop(name, None)


def _entry(spec: ModelSpec) -> ModelEntry:
    return ModelEntry(spec.name, spec.title, spec.description, spec.generators, spec.licence, spec)
