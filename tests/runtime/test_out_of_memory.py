"""Memory that is too small, simulated: models raise CUDA's error until they are asked for little enough."""

import errno

import cv2
import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.errors import DeviceError
from ovseg_demo.progress import EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.out_of_memory import ON_CPU, compute, is_out_of_memory
from ovseg_demo.segmenter import Segmenter
from tests.test_segmenter import QuadrantGenerator, make_clip, random_image
from tests.tiny.maskformer import tiny_maskformer
from tests.tiny.sam import TINY_SAM_THRESHOLDS, tiny_sam

CPU = Runtime(torch.device("cpu"))


class Model:
    """Works in a memory of some size; each variant needs half of what the one before needs."""

    def __init__(self, memory, needed=8, error=torch.OutOfMemoryError):
        self.memory = memory
        self.needed = needed
        self.error = error

    def work(self):
        if self.needed > self.memory:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 MiB")
        return self.needed

    def fallbacks(self):
        for needed in (4, 2):
            yield f"needs {needed}", Model(self.memory, needed, self.error)


def lazy(model, on_cpu=None):
    return LazyModel(lambda: model, on_cpu=on_cpu and LazyModel(lambda: on_cpu))


@pytest.mark.parametrize(
    ("memory", "expected"), [(8, (8, "")), (7, (4, "needs 4")), (3, (2, "needs 2")), (1, (16, ON_CPU))]
)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_no_more_is_reduced_than_must_be(memory, expected, error):
    model = lazy(Model(memory, error=error), on_cpu=Model(memory=99, needed=16))
    assert compute(model, Model.work) == expected


def test_where_the_last_fallback_does_not_fit_the_error_names_the_remedy():
    with pytest.raises(DeviceError, match="too little memory for this image; scale it down"):
        compute(lazy(Model(memory=1)), Model.work)


def test_other_errors_pass():
    def fail(model):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compute(lazy(Model(8), on_cpu=Model(8)), fail)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("unable to mmap 400 bytes from file </dev/zero>: Cannot allocate memory (12)"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_every_report_of_full_memory_is_recognised(error):
    assert is_out_of_memory(error)


def test_the_cpus_own_reports_of_full_memory_are_recognised():
    for allocate in (
        lambda: torch.empty(2**60, dtype=torch.uint8),
        lambda: np.empty(2**60, np.uint8),
        lambda: cv2.resize(np.zeros((2, 2), np.uint8), (2**30, 2**30)),
    ):
        with pytest.raises(Exception) as caught:  # each library has its own type
            allocate()
        assert is_out_of_memory(caught.value)


class Counts(list):
    """A progress callback that notes how much was done."""

    def __call__(self, stage, done, total):
        self.append(done)


def test_segment_anything_takes_fewer_points_at_a_time_and_then_makes_smaller_masks():
    options = {"points_per_batch": 32, "long_side": 96, **TINY_SAM_THRESHOLDS}
    full = SamProposalGenerator(tiny_sam(), **options)
    image = random_image(size=(60, 80))
    (_, batched), (fallback, smaller) = full.fallbacks()
    counts = Counts()
    masks = batched(image, progress=counts)
    assert 0 < max(np.diff(counts)) <= 4
    np.testing.assert_array_equal(masks.packed_masks, full(image).packed_masks)
    assert smaller(image).working_size == (36, 48)
    assert fallback == "masks of 48 pixels"
    assert full(image).working_size == (72, 96), "the generator itself stays as it is"


def test_maskformer_sees_a_smaller_image():
    full = MaskFormerProposalGenerator(tiny_maskformer(), min_size=64, max_size=256)
    ((fallback, smaller),) = full.fallbacks()
    image = random_image(size=(60, 80))
    assert (smaller(image).working_size, fallback) == ((32, 43), "masks of 32 pixels")
    assert full(image).working_size[0] == 64


def test_clip_embeds_regions_and_names_alike_in_smaller_batches():
    clip = make_clip()
    proposals = QuadrantGenerator()(random_image())
    for _, variant in clip.fallbacks():
        counts = Counts()
        regions = variant.embed_regions(proposals, progress=counts).vectors
        np.testing.assert_allclose(regions, clip.embed_regions(proposals).vectors, atol=1e-5)
        names = variant.embed_names(["dog", "grass"], "vild")
        np.testing.assert_allclose(names, clip.embed_names(["dog", "grass"], "vild"), atol=1e-5)
    assert counts == [0, 1, 2, 3, 4, 5]


class SmallMemory:
    """Lets calls of some methods fail as on a full GPU, so many times."""

    def __init__(self, monkeypatch, owner, method, failures):
        real = getattr(owner, method)

        def call(this, *arguments, **options):
            if self.failures:
                self.failures -= 1
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return real(this, *arguments, **options)

        self.failures = failures
        monkeypatch.setattr(owner, method, call)


def make_segmenter():
    generator = SamProposalGenerator(tiny_sam(), long_side=96, **TINY_SAM_THRESHOLDS)
    clip = make_clip()
    return Segmenter(
        {"sam": LazyModel(lambda: generator, on_cpu=LazyModel(lambda: generator))},
        LazyModel(lambda: clip, on_cpu=LazyModel(lambda: clip)),
    )


def test_the_result_notes_what_was_reduced(monkeypatch):
    SmallMemory(monkeypatch, SamProposalGenerator, "__call__", failures=2)
    SmallMemory(monkeypatch, MaskAdaptedClip, "embed_regions", failures=3)
    segmenter, image = make_segmenter(), random_image(size=(60, 80))
    proposing = f"{PROPOSING}: masks of 48 pixels, because memory was short"
    embedding = f"{EMBEDDING_REGIONS}: on the CPU, because memory was short"
    first = segmenter.segment(image, "dog, grass")
    assert first.notes == (proposing, embedding)
    assert first.label_map.shape == (60, 80)
    again = segmenter.segment(image, "dog, cat")
    assert again.notes == first.notes, "a cached stage keeps its note"


def test_names_are_encoded_with_little_memory_too(monkeypatch):
    SmallMemory(monkeypatch, MaskAdaptedClip, "embed_names", failures=1)
    segmenter, image = make_segmenter(), random_image(size=(60, 80))
    found = segmenter.segment(image, "dog, grass")
    assert found.notes == (f"{ENCODING_NAMES}: smaller batches, because memory was short",)
    assert segmenter.segment(image, "dog, grass").notes == (), "these names came from the cache"
    assert make_segmenter().segment(image, "dog, grass").notes == ()
