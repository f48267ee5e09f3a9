"""Text embeddings of class names, cached in memory and on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_demo.classification.types import RegionClassifier
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.runtime.caching import ByteCache, LazyModel
from ovseg_demo.runtime.out_of_memory import compute
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache

FEW_NAMES = 8
"""So many names take little time: they do not wait while another thread encodes more."""


@dataclass(frozen=True, eq=False)
class TextEmbeddings:
    """Text embeddings of some names.

    Attributes:
        vectors: float32 (names, D), as :meth:`.RegionClassifier.embed_names` returns them.
        was_cached: whether every name was in memory before the call.
        fallback: what was reduced because memory was short, such as "smaller batches"; otherwise empty.
    """

    vectors: np.ndarray
    was_cached: bool
    fallback: str = ""


class TextEncoder:
    """Embeds class names with one classifier and its prompt templates; many threads can use one encoder.

    Args:
        model: the classifier.
        templates: the default prompt templates.
        memory: embeddings by name, common to all encoders.
        disk: embeddings of the class lists that ship with the project, kept between runs.
    """

    def __init__(
        self,
        model: LazyModel[RegionClassifier],
        templates: str,
        memory: ByteCache,
        disk: TextEmbeddingCache,
    ):
        self.templates = templates
        self._model = model
        self._memory = memory
        self._disk = disk

    def encode(
        self,
        names: Sequence[str],
        templates: str | None = None,
        *,
        progress: ProgressCallback = no_progress,
    ) -> TextEmbeddings:
        """Return the embeddings of names; names that are not cached are encoded.

        Args:
            names: class names, synonyms and distractors.
            templates: a key of :data:`ovseg_demo.vocabulary.TEMPLATES`, or "learned"; ``None`` means the
                encoder's default.
            progress: called after each batch; it may stop the work by raising an exception.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
            VocabularyError: a name is too long for the text tower.
        """
        templates = templates or self.templates
        key = self._model.key, self._model.get().fingerprint, templates

        def complete(classifier: RegionClassifier) -> dict[str, np.ndarray]:
            embeddings = self._recall(key, names)  # another thread may have added some in the meantime
            missing = [name for name, embedding in embeddings.items() if embedding is None]
            text_key = classifier.text_key(templates)
            added = self._disk.read(text_key, names, missing)
            missing = [name for name in missing if name not in added]
            encoded = classifier.embed_names(missing, templates, progress=progress)
            # Rows are copied, because a view would keep the whole array in memory.
            added |= {name: row.copy() for name, row in zip(missing, encoded, strict=True)}
            for name, embedding in added.items():
                self._memory.put((*key, name), embedding)
            embeddings |= added
            if missing:
                self._disk.write(text_key, embeddings)
            return embeddings

        embeddings, fallback = self._recall(key, names), ""
        missing = sum(embedding is None for embedding in embeddings.values())
        if missing:
            part = "few names" if missing <= FEW_NAMES else "names"
            embeddings, fallback = compute(self._model, complete, progress, part)
        return TextEmbeddings(np.stack([embeddings[name] for name in names]), not missing, fallback)

    def count_missing(self, names: Sequence[str], templates: str | None = None) -> int:
        """Return how many names are not in memory, so that :meth:`encode` takes time for them."""
        key = self._model.key, self._model.get().fingerprint, templates or self.templates
        return sum(embedding is None for embedding in self._recall(key, names).values())

    def obstacles(self, names: Sequence[str], templates: str | None = None) -> dict[str, str]:
        """Return the names that the model cannot use, each with the reason.

        Args:
            names: class names, synonyms and distractors.
            templates: as for :meth:`encode`.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        return self._model.get().obstacles(names, templates or self.templates)

    def are_usable(self, names: Sequence[str], templates: str | None = None) -> np.ndarray:
        """Return which names the model can use: bool (names,). The answer for a list is kept in memory.

        :meth:`obstacles` takes a tenth of a millisecond a name, which is long for a list of a thousand.

        Args:
            names: class names.
            templates: as for :meth:`encode`.

        Raises:
            ModelError: the templates are unknown, or the model has no learned prompts.
        """
        fingerprint = self._model.get().fingerprint
        # A digest, because the cache counts a byte a name for the answer and nothing for its key.
        digest = hashlib.sha256(repr(tuple(names)).encode()).hexdigest()
        key = self._model.key, fingerprint, templates or self.templates, "usable", digest

        def find() -> np.ndarray:
            obstacles = self.obstacles(names, templates)
            return np.array([name not in obstacles for name in names], bool)

        return self._memory.get_or_make(key, find)

    def _recall(self, key: tuple, names: Sequence[str]) -> dict[str, np.ndarray | None]:
        return {name: self._memory.get((*key, name)) for name in names}
