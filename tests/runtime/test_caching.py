import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ovseg_demo.errors import Cancelled
from ovseg_demo.progress import WAITING
from ovseg_demo.runtime.caching import ByteCache, LazyModel, content_key


def kilobytes(count):
    return np.zeros(1000 * count, np.uint8)


def cancel(stage, done, total):
    raise Cancelled("stopped")


class TestByteCache:
    def test_the_least_recently_used_values_make_room(self):
        cache = ByteCache(max_bytes=3000)
        for key in "abc":
            cache.put(key, kilobytes(1))
        cache.get("a")
        cache.put("d", kilobytes(2))
        assert [cache.get(key) is not None for key in "abcd"] == [True, False, False, True]
        assert cache.nbytes == 3000

    def test_a_value_larger_than_the_cache_is_handed_out_but_not_kept(self):
        cache = ByteCache(max_bytes=3000)
        cache.put("a", kilobytes(1))
        value = cache.get_or_make("b", lambda: kilobytes(4))
        assert len(value) == 4000
        assert cache.get("b") is None
        assert cache.get("a") is not None

    def test_a_replaced_value_is_charged_once(self):
        cache = ByteCache(max_bytes=3000)
        cache.put("a", kilobytes(2))
        cache.put("a", kilobytes(1))
        assert (len(cache), cache.nbytes) == (1, 1000)

    def test_many_threads_that_ask_for_one_value_make_it_once(self):
        cache, made, ready = ByteCache(max_bytes=10_000), [], threading.Barrier(8)

        def make():
            time.sleep(0.05)
            made.append(threading.get_ident())
            return kilobytes(1)

        def ask(_):
            ready.wait()
            return cache.get_or_make("a", make)

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(ask, range(8)))
        assert len(made) == 1
        assert len({id(value) for value in results}) == 1

    def test_after_a_failure_the_next_waiting_thread_makes_the_value(self):
        cache, is_made = ByteCache(max_bytes=10_000), threading.Event()

        def fail():
            is_made.set()
            time.sleep(0.05)
            raise Cancelled("stopped")

        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(cache.get_or_make, "a", fail)
            is_made.wait()
            second = pool.submit(cache.get_or_make, "a", lambda: kilobytes(1))
            with pytest.raises(Cancelled):
                first.result()
            assert len(second.result()) == 1000

    def test_a_waiting_thread_reports_it_and_may_stop(self):
        cache, is_made, go_on = ByteCache(max_bytes=10_000), threading.Event(), threading.Event()

        def make():
            is_made.set()
            go_on.wait()
            return kilobytes(1)

        stages = []

        def stop(stage, done, total):
            stages.append(stage)
            raise Cancelled("stopped")

        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(cache.get_or_make, "a", make)
            is_made.wait()
            with pytest.raises(Cancelled):
                cache.get_or_make("a", make, stop)
            go_on.set()
            assert len(first.result()) == 1000
        assert stages == [WAITING]
        assert cache.get("a") is not None


class TestLazyModel:
    def test_many_threads_load_it_once(self):
        loads, ready = [], threading.Barrier(8)

        def load():
            time.sleep(0.05)
            loads.append("weights")
            return object()

        model = LazyModel(load)
        assert not model.is_loaded

        def ask(_):
            ready.wait()
            return model.get()

        with ThreadPoolExecutor(8) as pool:
            assert len({id(loaded) for loaded in pool.map(ask, range(8))}) == 1
        assert loads == ["weights"]
        assert model.is_loaded

    def test_is_loaded_again_after_a_failure(self):
        outcomes = iter([MemoryError, "weights"])

        def load():
            outcome = next(outcomes)
            if outcome is MemoryError:
                raise MemoryError
            return outcome

        model = LazyModel(load)
        with pytest.raises(MemoryError):
            model.get()
        assert model.get() == "weights"

    def test_one_thread_at_a_time_uses_a_part_and_others_may_stop(self):
        model = LazyModel(lambda: "weights")
        with ThreadPoolExecutor(1) as pool, model.use(part="text"):

            def use(part):
                with model.use(cancel, part=part) as loaded:
                    return loaded

            assert pool.submit(use, "image").result() == "weights"
            with pytest.raises(Cancelled):
                pool.submit(use, "text").result()
        assert use("text") == "weights"

    def test_two_models_have_different_keys(self):
        assert LazyModel(object).key != LazyModel(object).key


def test_content_keys_depend_on_content_shape_and_type():
    zeros = np.zeros((2, 3), np.uint8)
    others = [zeros.T, zeros.view(bool), zeros + 1, np.zeros((2, 3), np.int64)]
    keys = {content_key(array) for array in [zeros, *others]}
    assert len(keys) == 5
    assert content_key(np.zeros((4, 6), np.uint8)[::2, ::2]) == content_key(zeros)
