"""Memory that is too small, simulated: networks raise CUDA's error until they are asked for little enough."""

import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.errors import DeviceError
from ovseg_demo.progress import PROPOSING, READING_REGIONS
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.out_of_memory import ON_CPU, compute, is_out_of_memory
from ovseg_demo.segmenter import Segmenter
from tests.test_segmenter import QuadrantGenerator, make_clip, sample
from tests.tiny.maskformer import tiny_maskformer
from tests.tiny.sam import TINY_SAM_THRESHOLDS, tiny_sam

CPU = Runtime(torch.device("cpu"))


class Network:
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
            yield f"needs {needed}", Network(self.memory, needed, self.error)


def share(network, on_cpu=None):
    return LazyModel(lambda: network, on_cpu=on_cpu and LazyModel(lambda: on_cpu))


@pytest.mark.parametrize(
    ("memory", "expected"), [(8, (8, "")), (7, (4, "needs 4")), (3, (2, "needs 2")), (1, (16, ON_CPU))]
)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
def test_no_more_is_lowered_than_must_be(memory, expected, error):
    network = share(Network(memory, error=error), on_cpu=Network(memory=99, needed=16))
    assert compute(network, Network.work) == expected


def test_the_least_that_does_not_fit_is_an_error_that_tells_what_to_do():
    with pytest.raises(DeviceError, match="too little memory for this image; scale it down"):
        compute(share(Network(memory=1)), Network.work)


def test_other_errors_pass():
    def fail(network):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        compute(share(Network(8), on_cpu=Network(8)), fail)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


class Counts(list):
    """A progress callback that notes how much was done."""

    def __call__(self, stage, done, total):
        self.append(done)


def test_segment_anything_takes_fewer_points_at_a_time_and_then_makes_smaller_masks():
    options = {"points_per_batch": 32, "long_side": 96, **TINY_SAM_THRESHOLDS}
    full = SamProposalGenerator(tiny_sam(), **options)
    image = sample(size=(60, 80))
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
    image = sample(size=(60, 80))
    assert (smaller(image).working_size, fallback) == ((32, 43), "masks of 32 pixels")
    assert full(image).working_size[0] == 64


def test_clip_reads_the_same_from_regions_and_names_in_smaller_batches():
    clip = make_clip()
    proposals = QuadrantGenerator()(sample())
    for _, fallbacks in clip.fallbacks():
        counts = Counts()
        regions = fallbacks.embed_regions(proposals, progress=counts)
        np.testing.assert_allclose(regions, clip.embed_regions(proposals), atol=1e-5)
        names = fallbacks.embed_names(["dog", "grass"], "vild")
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


def test_the_result_tells_what_was_lowered(monkeypatch):
    SmallMemory(monkeypatch, SamProposalGenerator, "__call__", failures=2)
    SmallMemory(monkeypatch, MaskAdaptedClip, "embed_regions", failures=3)
    segmenter, image = make_segmenter(), sample(size=(60, 80))
    proposing = f"{PROPOSING}: masks of 48 pixels, as the GPU's memory was too small"
    reading = f"{READING_REGIONS}: on the CPU, as the GPU's memory was too small"
    first = segmenter.segment(image, "dog, grass")
    assert first.notes == (proposing, reading)
    assert first.label_map.shape == (60, 80)
    again = segmenter.segment(image, "dog, cat")
    assert again.notes == (proposing,), "of what is remembered, what the map still shows"


def test_names_are_encoded_with_little_memory_too(monkeypatch):
    SmallMemory(monkeypatch, MaskAdaptedClip, "embed_names", failures=1)
    segmenter, image = make_segmenter(), sample(size=(60, 80))
    fallback = segmenter.segment(image, "dog, grass")
    assert len(fallback.notes) == 1
    assert make_segmenter().segment(image, "dog, grass").notes == ()
