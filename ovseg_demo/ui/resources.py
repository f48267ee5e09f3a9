"""What all visitors share: models, limits, memory, and turns on the machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ovseg_demo.analysis import Analysis
from ovseg_demo.errors import ModelError
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.progress import ProgressCallback
from ovseg_demo.runtime.caching import hold
from ovseg_demo.ui.costs import Kind
from ovseg_demo.ui.language.texts import Texts
from ovseg_demo.ui.messages import Message
from ovseg_demo.ui.model_registry import ModelEntry, ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session_memory import SessionMemory
from ovseg_demo.ui.settings import PageSettings


class PageResources:
    """What all visitors share, and what a visitor's request asks of it.

    Args:
        registry: the models.
        settings: limits and permissions.
        publish: stores bytes under a file name, and returns Gradio's record of that file.
        budget: what all visitors' images may take together while they are decoded.

    Attributes:
        registry, settings, publish, budget: as above.
        memory: the bytes of all sessions' analyses.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        settings: PageSettings,
        publish: Callable[[bytes, str], Message],
        budget: MemoryBudget | None = None,
    ):
        self.registry = registry
        self.settings = settings
        self.publish = publish
        self.budget = budget
        self.memory = SessionMemory(settings.analysis_memory, registry.analysis_cache)
        registry.watch(self.memory.expire_models)
        self._turns = threading.Semaphore(settings.concurrent_analyses)

    @property
    def texts(self) -> Texts:
        """The texts of the page."""
        return self.settings.texts

    def turn(self, progress: ProgressCallback) -> AbstractContextManager[None]:
        """Take a turn among the analyses; wait until there is one."""
        return hold(self._turns, progress)

    def memory_for(self, nbytes: int) -> AbstractContextManager[None]:
        """Hold so many bytes of the budget; wait until they are free."""
        return nullcontext() if self.budget is None else self.budget.take(nbytes)

    def present(self, model: str) -> ModelEntry:
        """Return the entry of a model that is on this machine.

        Raises:
            ModelError: there is no such model, or it is not on this machine.
        """
        entry = self.registry.find(model)
        if entry.is_present:
            return entry
        if self.settings.allow_downloads:
            raise ModelError(f'The model "{entry.title}" is not here yet; download it under Advanced.')
        raise ModelError(
            f'The model "{entry.title}" is not on this server; its operator can get it with '
            f'"python -m ovseg_demo download {entry.name}".'
        )

    # ---- what a request asks of the models

    def kind(self, request: Request) -> Kind:
        """Return what the time of a request's analysis depends on."""
        stages = self.stages(request)
        return Kind(
            self.registry.find(request.model).name,
            stages["generator"],
            stages["points_per_side"] or 0,
            stages["classifier"],
        )

    def stages(self, request: Request) -> dict[str, Any]:
        """Return what a request asks of both stages, as :meth:`Segmenter.analyze` takes it.

        A visitor may choose a model before the menu of generators follows: a generator that the model lacks
        gives way to the model's first.
        """
        generator = self.registry.find(request.model).suitable(request.generator)
        return {
            "generator": generator,
            "points_per_side": request.points_for(generator),
            "classifier": request.classifier,
        }

    def note_cost(self, request: Request, analysis: Analysis) -> None:
        """Note what an analysis took, for the estimates of later ones."""
        self.registry.costs.note(self.kind(request), analysis.timings, analysis.proposals.points_per_side)
