"""What a GPU computes is what the CPU computes, within the precision used."""

import numpy as np
import pytest
import torch

from ovseg_demo import load_segmenter
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.runtime.devices import Runtime
from tests.classification.clip.test_classifier import NAMES, cosines, make_proposals
from tests.models.test_loading import MASKFORMER, SAM, image
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam
from tests.tiny.clip import tiny_clip_tensors

pytestmark = pytest.mark.gpu

CPU = Runtime(torch.device("cpu"))


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float32, 0.9999), (torch.bfloat16, 0.999), (torch.float16, 0.999)]
)
def test_embeddings_are_those_of_the_cpu(dtype, least):
    exact, on_gpu = (
        MaskAdaptedClip.from_tensors(tiny_clip_tensors(), runtime=runtime)
        for runtime in (CPU, Runtime(torch.device("cuda"), dtype))
    )
    proposals = make_proposals(9)
    for mask_prompts in (True, False):
        regions = [
            clip.embed_regions(proposals, mask_prompts=mask_prompts).vectors for clip in (exact, on_gpu)
        ]
        assert cosines(*regions).min() > least
    assert cosines(*(clip.embed_names(NAMES, "vild") for clip in (exact, on_gpu))).min() > least


@pytest.mark.parametrize("generator", ["sam", "maskformer"])
def test_maps_are_those_of_the_cpu(generator, tmp_path):
    files = {"ovseg": save_tiny_ovseg(tmp_path / "ovseg.pth"), "sam": save_tiny_sam(tmp_path / "sam.pth")}
    options = {"sam_options": SAM, "maskformer_options": MASKFORMER, "precision": "float32"}
    maps = [
        load_segmenter(**files, **options, device=device)
        .segment(image(), "dog, grass, tree", generator=generator, granularity=0)
        .label_map
        for device in ("cpu", "cuda")
    ]
    assert np.mean(maps[0] == maps[1]) > 0.98


def test_the_default_precision_runs(tmp_path):
    segmenter = load_segmenter(
        ovseg=save_tiny_ovseg(tmp_path / "ovseg.pth"), maskformer_options=MASKFORMER, device="cuda"
    )
    assert np.isfinite(segmenter.segment(image(), "dog, grass").probabilities).all()
