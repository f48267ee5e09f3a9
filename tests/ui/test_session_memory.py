"""The memory of all sessions together."""

import gc

import numpy as np

from ovseg_demo.classification.corrections import Correction
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.segmenter import Caches
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.session_memory import SessionMemory
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import UploadedImage
from tests.ui.colour_world import colour_segmenter, landscape, save_image
from tests.ui.updates import REQUEST, analyze, found


def session_of(analysis):
    session = Session()
    run = session.runs.begin("analyze")
    session.take(UploadedImage(1, "image.png", *analysis.image.shape[1::-1]), run)
    session.keep_analysis(analysis, ("key",), run)
    return session


def test_shared_analyses_count_once_and_left_sessions_not_at_all():
    segmenter = colour_segmenter()
    first, second = (session_of(segmenter.analyze(landscape())) for _ in range(2))
    other = session_of(segmenter.analyze(landscape(200, 100)))
    memory = SessionMemory(2**30)
    for session in (first, second, other):
        memory.touch(session)
    sizes = [session.analysis.nbytes for session in (first, other)]
    assert memory.nbytes == sum(sizes)
    del first, second, session
    gc.collect()
    assert memory.nbytes == sizes[1]


def test_the_least_recently_used_session_gives_way():
    segmenter = colour_segmenter()
    sessions = [session_of(segmenter.analyze(landscape(100 + number, 80))) for number in range(3)]
    memory = SessionMemory(2 * sessions[2].analysis.nbytes)
    memory.touch(sessions[0])
    memory.touch(sessions[1])
    memory.touch(sessions[0])
    memory.touch(sessions[2])
    assert [session.is_expired for session in sessions] == [False, True, False]
    assert sessions[1].analysis is None


def test_a_session_is_served_even_if_it_alone_exceeds_the_budget():
    session = session_of(colour_segmenter().analyze(landscape()))
    memory = SessionMemory(10)
    memory.touch(session)
    assert not session.is_expired


def test_corrections_stay_longer_than_analyses_and_count_until_they_go():
    segmenter = colour_segmenter()
    sessions = [session_of(segmenter.analyze(landscape(100 + number, 80))) for number in range(3)]
    for session in sessions:
        session.corrections.add(Correction.of(np.ones((1000, 1000), bool), "barn"))
    correction = sum(part.nbytes for part in sessions[0].corrections.parts)
    memory = SessionMemory(sum(sessions[2].arrays().values()) + 2 * correction)
    for session in sessions:
        memory.touch(session)
    assert [session.is_expired for session in sessions] == [True, True, False]
    assert all(session.corrections.current for session in sessions)
    assert memory.nbytes == sum(sum(session.arrays().values()) for session in sessions)
    sessions[2].corrections.add(Correction.of(np.ones((1000, 1000), bool), "house"))
    memory.touch(sessions[2])
    assert [bool(session.corrections.current) for session in sessions] == [False, True, True]


def test_the_cache_takes_what_the_sessions_leave():
    segmenter = colour_segmenter(caches=Caches(ByteCache(10**7), ByteCache(10**6)))
    cache = segmenter.caches.analyses
    session = session_of(segmenter.analyze(landscape()))
    held = session.analysis.nbytes
    assert cache.nbytes > 0
    SessionMemory(10**7, cache).touch(session)
    assert cache.nbytes > 0, "there is room for both"
    SessionMemory(held, cache).touch(session)
    cache.reserve(10**7)
    assert cache.nbytes == 0


class TestOnThePage:
    def controller(self, caches, memory):
        registry = ModelRegistry.of_segmenter(colour_segmenter(caches=caches))
        settings = PageSettings(analysis_memory=memory)
        return PageController(PageResources(registry, settings, lambda content, name: {"path": name}))

    def test_edits_explanations_and_files_need_no_cache(self, image, monkeypatch):
        controller = self.controller(Caches(ByteCache(0), ByteCache(0)), 2**30)
        session, _ = analyze(controller, image)
        monkeypatch.setattr("ovseg_demo.segmenter.Segmenter.analyze", None)  # calling it would fail
        assert found(controller.edit(session, Request(prompt="red, green"))["map"]) == ["green", "red"]
        assert controller.explain(session, 80, 100)["why"]["name"] == "red"

    def test_an_expired_analysis_is_never_repeated_by_an_edit(self, tmp_path):
        controller = self.controller(Caches(), 1)
        paths = [str(save_image(tmp_path / f"{n}.png", landscape(200 + n, 100))) for n in range(2)]
        first, _ = analyze(controller, paths[0])
        analyze(controller, paths[1])
        updates = controller.edit(first, REQUEST)
        assert "map" not in updates
        assert "press Submit to analyze it again" in updates["status"]["text"]
        assert "press Submit" in controller.explain(first, 1, 1)["status"]["text"]
        again = list(controller.analyze(first, paths[0], REQUEST))
        assert any("map" in update for update in again)
