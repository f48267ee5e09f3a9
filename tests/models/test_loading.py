import shutil

import numpy as np
import pytest
import torch

from ovseg_demo import load_segmenter
from ovseg_demo.classification.rules import EnsembleRule
from ovseg_demo.errors import CheckpointError, DeviceError, ModelError
from ovseg_demo.images import load_image, resize_longer_side
from ovseg_demo.models.catalogue import OVSEG_SWIN_B, STICKER_WORLD_OVSEG
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.runtime.resources import bundled
from ovseg_demo.segmenter import Caches
from tests.tiny.checkpoints import save_tiny_ovseg, save_tiny_sam
from tests.tiny.clip import tiny_clip_tensors
from tests.tiny.maskformer import tiny_maskformer_tensors
from tests.tiny.sam import TINY_SAM_THRESHOLDS

MASKFORMER = {"min_size": 64, "max_size": 128}
SAM = {**TINY_SAM_THRESHOLDS, "long_side": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tiny weights in the published formats; the OVSeg file has a catalogue model's file name."""
    folder = tmp_path_factory.mktemp("weights")
    save_tiny_ovseg(folder / OVSEG_SWIN_B.name)
    save_tiny_sam(folder / "sam.pth")
    clip = tiny_clip_tensors(seed=1, mask_prompt_depth=0)
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in clip.items()}}, folder / "clip.pth"
    )
    return folder


@pytest.fixture(scope="module")
def ovseg(folder):
    return folder / OVSEG_SWIN_B.name


def load(**options):
    options = {"maskformer_options": MASKFORMER, "sam_options": SAM} | options
    return load_segmenter(device="cpu", precision="float32", **options)


def image():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


def test_both_generators_segment_from_files(folder, ovseg):
    segmenter = load(ovseg=ovseg, sam=folder / "sam.pth", unadapted=str(folder / "clip.pth"))
    assert segmenter.generators == ("sam", "maskformer")
    assert segmenter.classifiers == ("mask-adapted", "mask-adapted-no-prompts", "un-adapted")
    for generator in segmenter.generators:
        segmentation = segmenter.segment(image(), "dog, grass, tree", generator=generator, granularity=0)
        assert segmentation.proposals.generator == generator
        assert (segmentation.label_map >= 0).any()


def test_any_clip_names_the_masks_of_segment_anything(folder):
    segmenter = load(sam=folder / "sam.pth", clip=folder / "clip.pth")
    assert segmenter.generators == ("sam",)
    assert segmenter.segment(image(), "dog, grass", granularity=0).probabilities.shape[1] == 2


def test_a_clip_that_is_given_replaces_the_one_in_the_checkpoint(folder, ovseg):
    caches = Caches()
    own = load(ovseg=ovseg, unadapted=folder / "clip.pth", caches=caches)
    other = load(ovseg=ovseg, clip=folder / "clip.pth", caches=caches)
    expected = own.segment(image(), "dog, grass", classifier="un-adapted")
    segmentation = other.segment(image(), "dog, grass")
    np.testing.assert_array_equal(segmentation.probabilities, expected.probabilities)
    assert all(timing.was_cached for timing in segmentation.timings[:-1])


def test_the_activation_changes_the_result(folder, ovseg):
    quick, exact = (
        load(ovseg=ovseg, quick_gelu=flag).segment(image(), "dog, grass") for flag in (True, False)
    )
    assert np.abs(quick.probabilities - exact.probabilities).max() > 1e-4
    np.testing.assert_array_equal(
        load(ovseg=ovseg).segment(image(), "dog, grass").probabilities, quick.probabilities
    )


@pytest.mark.parametrize(
    ("backbone", "clip_options", "shorter_side", "clip_weight", "templates"),
    [
        ("swin", {}, 640, 0.7, "vild"),
        ("resnet", {}, 512, 0.7, "vild"),
        ("resnet", {"mask_prompt_depth": 0}, 512, 0.5, "vild"),
        ("resnet", {"mask_prompt_depth": 0, "prompts": (4, 2)}, 512, 0.5, "learned"),
    ],
)
def test_a_renamed_file_gets_the_settings_of_what_it_holds(
    tmp_path, backbone, clip_options, shorter_side, clip_weight, templates
):
    path = tmp_path / "ovseg_swinbase_vitL14_ft_mpt.pth"
    clip = tiny_clip_tensors(embedding_width=32, **clip_options).items()
    tensors = {
        f"clip_adapter.{'' if name.startswith('prompt_learner.') else 'clip_model.'}{name}": tensor
        for name, tensor in clip
    }
    torch.save({"model": tiny_maskformer_tensors(backbone) | tensors}, path)
    segmenter = load(ovseg=path, maskformer_options={}, benchmark="ade20k-150")
    assert (segmenter.clip_weight, segmenter.templates) == (clip_weight, templates)
    assert segmenter.propose(image()).working_image.shape[0] == shorter_side


def test_the_renamed_bundled_file_gets_its_own_settings(tmp_path):
    shutil.copy(STICKER_WORLD_OVSEG.path(), tmp_path / "my_own.pth")
    segmenter = load(ovseg=tmp_path / "my_own.pth", maskformer_options={}, benchmark="sticker-world")
    assert segmenter.clip_weight == 0.8
    assert segmenter.propose(image()).working_image.shape[0] == 384


def test_a_model_is_not_built_before_it_is_needed(folder, ovseg):
    segmenter = load(ovseg=ovseg, sam=folder / "sam.pth", sam_options={"points_per_side": 0})
    segmenter.segment(image(), "dog, grass", generator="maskformer")
    with pytest.raises(ModelError, match="points_per_side is 0"):
        segmenter.segment(image(), "dog, grass", generator="sam")


def test_a_file_that_was_replaced_is_not_taken_for_the_old_one(tmp_path):
    caches, path = Caches(ByteCache(10**8), ByteCache(10**8)), tmp_path / "ovseg.pth"
    clip = {f"clip_adapter.clip_model.{name}": tensor for name, tensor in tiny_clip_tensors().items()}
    masks = []
    for seed in (0, 1):
        torch.save({"model": tiny_maskformer_tensors(seed=seed) | clip}, tmp_path / "new.pth")
        (tmp_path / "new.pth").replace(path)
        masks.append(load(ovseg=path, caches=caches).propose(image()).packed_masks)
    assert masks[0].shape != masks[1].shape or (masks[0] != masks[1]).any()


class TestCatalogue:
    name = "ovseg-swinb-vitl14"

    def test_a_model_runs_with_the_parts_that_are_there(self, folder):
        segmenter = load(name=self.name, folder=folder)
        assert segmenter.generators == ("maskformer",)
        segmenter.segment(image(), "dog, grass")
        download = f"download {self.name}"
        with pytest.raises(ModelError, match=f'needs ".*sam_vit_l.*{download}"'):
            segmenter.segment(image(), "dog, grass", generator="sam")
        with pytest.raises(ModelError, match=f"{download} --all"):
            segmenter.segment(image(), "dog, grass", classifier="un-adapted")

    def test_a_file_replaces_a_part(self, folder):
        segmenter = load(name=self.name, folder=folder, sam=folder / "sam.pth")
        assert segmenter.generators == ("sam", "maskformer")

    def test_a_model_that_was_not_downloaded_says_how_to(self, tmp_path):
        with pytest.raises(ModelError, match=f"download {self.name}"):
            load(name=self.name, folder=tmp_path)

    def test_proposals_alone_ask_for_a_clip(self, tmp_path):
        with pytest.raises(ModelError, match="no CLIP; give one with clip=FILE"):
            load(name="sam-vit-b", folder=tmp_path)

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ModelError, match=f"choose one of .*{self.name}"):
            load(name="ovseg-huge")


class TestRefusals:
    def test_a_clip_alone_asks_for_proposals(self, folder):
        with pytest.raises(ModelError, match="no Segment Anything; give its weights with sam=FILE"):
            load(clip=folder / "clip.pth")

    def test_mixed_up_files_are_refused_at_once(self, folder, ovseg):
        with pytest.raises(CheckpointError, match="looks like a Segment Anything checkpoint"):
            load(ovseg=folder / "sam.pth")
        with pytest.raises(CheckpointError, match="looks like an OVSeg"):
            load(ovseg=ovseg, sam=ovseg)

    def test_a_missing_file_is_refused_at_once(self, ovseg, tmp_path):
        with pytest.raises(CheckpointError, match="no weights file"):
            load(ovseg=ovseg, sam=tmp_path / "sam.pth")

    def test_an_unknown_device_is_refused_at_once(self, ovseg):
        with pytest.raises(DeviceError, match='no device "tpu"'):
            load_segmenter(ovseg=ovseg, device="tpu")

    @pytest.mark.parametrize("generator", ["detectron2", "sam"])
    def test_a_generator_without_weights_says_which_to_give(self, ovseg, generator):
        with pytest.raises(ModelError, match=f"give .*{generator}="):
            load(ovseg=ovseg).segment(image(), "dog, grass", generator=generator)


def test_fewer_points_propose_fewer_masks(folder):
    files = {"sam": folder / "sam.pth", "clip": folder / "clip.pth"}
    options = {name: value for name, value in SAM.items() if name != "points_per_side"}
    few, many = (load(**files, points_per_side=side, sam_options=options) for side in (2, 8))
    seen = []
    found = few.propose(image(), progress=lambda *report: seen.append(report))
    assert seen[-1][1:] == (4, 4)
    assert 0 < len(found) < len(many.propose(image()))
    automatic = load(**files, points_per_side="auto", sam_options=options)
    automatic.propose(image(), progress=lambda *step: seen.append(step))
    assert seen[-1][1:] == (16, 16), "half as many a side as the small network's image embedding has cells"
    with pytest.raises(ModelError, match="points_per_side is 0; it must be at least 1"):
        load(**files, points_per_side=0, sam_options=options).propose(image())


def test_the_default_model_finds_a_cat_with_either_generator():
    segmenter = load_segmenter(device="cpu")
    assert segmenter.generators == ("sam", "maskformer")
    assert segmenter.classifiers == ("mask-adapted", "mask-adapted-no-prompts")
    photograph, names = resize_longer_side(load_image(bundled("examples") / "cat.jpg"), 320), "cat, sky, car"
    found = [segmenter.segment(photograph, names, generator=name) for name in segmenter.generators]
    cats = [segmentation.label_map == 0 for segmentation in found]
    assert (cats[0] & cats[1]).sum() > 0.5 * (cats[0] | cats[1]).sum() > 0
    ensemble = segmenter.segment(photograph, names, generator="maskformer", rule=EnsembleRule())
    assert (cats[1] & (ensemble.label_map == 0)).sum() > 0.5 * cats[1].sum()


def test_a_model_without_maskformer_says_so(folder):
    segmenter = load(sam=folder / "sam.pth", clip=folder / "clip.pth")
    with pytest.raises(ModelError, match="This model has no MaskFormer; give a full OVSeg checkpoint with"):
        segmenter.analyze(image(), generator="maskformer")
