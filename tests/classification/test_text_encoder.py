"""Which names a model can use, as its text encoder remembers it."""

import gc
import weakref
from types import SimpleNamespace

from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.runtime.caching import ByteCache, LazyModel
from ovseg_demo.runtime.text_embedding_cache import TextEmbeddingCache
from ovseg_demo.vocabulary import UNKNOWN


class Name(str):
    """A text that can be referred to weakly."""


def make_encoder(known: set[str], asked: list[list[str]]) -> TextEncoder:
    def obstacles(names, templates):
        asked.append([str(name) for name in names])
        return {name: UNKNOWN for name in names if name not in known}

    model = LazyModel(lambda: SimpleNamespace(fingerprint="clip", obstacles=obstacles))
    return TextEncoder(model, "photo", ByteCache(2**20), TextEmbeddingCache(lists=tuple))


def test_a_list_of_names_is_checked_once():
    asked = []
    encoder = make_encoder({"cat", "dog"}, asked)
    lists = (["cat", "dgo"], ["cat dgo"], ["cat", "dog"])
    for _ in range(2):
        answers = [encoder.are_usable(names).tolist() for names in lists]
        assert answers == [[True, False], [False], [True, True]]
    assert asked == list(lists)


def test_the_names_of_a_list_are_not_kept():
    encoder = make_encoder({"cat"}, [])
    names = [Name("cat")]
    kept = weakref.ref(names[0])
    assert encoder.are_usable(names).all()
    del names
    gc.collect()
    assert kept() is None
