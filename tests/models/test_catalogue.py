"""The catalogue: what each named model is made of, and whether its files are present."""

import re

import pytest
import torch

from ovseg_demo.errors import ModelError
from ovseg_demo.models.catalogue import CATALOGUE, ROLES, ModelSpec, find_model, maskformer_settings_for
from ovseg_demo.models.checkpoints import CheckpointKind
from ovseg_demo.models.weights_files import (
    BundledSource,
    GoogleDriveSource,
    HuggingFaceSource,
    UrlSource,
    WeightsFile,
    open_clip_weights,
    weights_folder,
)
from tests.paths import ROOT

ROLE_KINDS = {
    "ovseg": CheckpointKind.OVSEG,
    "sam": CheckpointKind.SAM,
    "clip": CheckpointKind.CLIP,
    "maskclippp": CheckpointKind.MASKCLIPPP,
    "unadapted": CheckpointKind.CLIP,
}
FILES = {file.name: file for spec in CATALOGUE.values() for file in spec.parts.values()}

MASK_PROMPTS = "clip_adapter.clip_model.visual.mask_embedding"


def test_names_are_found_and_unknown_ones_answered_with_the_list():
    assert all(find_model(name) is spec and spec.name == name for name, spec in CATALOGUE.items())
    with pytest.raises(ModelError, match=r'no model "ovseg-large"; choose one of .*ovseg-swinb-vitl14'):
        find_model("ovseg-large")


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=lambda spec: spec.name)
def test_every_entry_is_complete(spec):
    assert spec.parts.keys() <= ROLES.keys() == ROLE_KINDS.keys()
    assert all(file.kind is ROLE_KINDS[role] for role, file in spec.parts.items())
    assert (spec.maskformer is not None) == ("ovseg" in spec.parts)
    assert spec.required and spec.size > 0 and spec.licence and spec.title and spec.description
    assert spec.seconds > 0
    assert re.fullmatch(r"[a-z0-9-]+", spec.name)


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_every_file_can_be_had_and_checked(file):
    assert file.sources and file.size > 0 and file.licence
    assert re.fullmatch(r"[0-9a-f]{0,64}", file.sha256) and re.fullmatch(r"[0-9a-f]{0,32}", file.md5)
    assert sum(other == file for other in FILES.values()) == 1
    if file.bundled:
        assert file.path().stat().st_size == file.size
        return
    for source in file.sources:
        assert str(source).startswith("https://")
        if isinstance(source, UrlSource):
            assert source.url.endswith(file.name)
        if isinstance(source, HuggingFaceSource):
            is_folder = source.filename == "open_clip_model.safetensors"  # one name for all models
            assert (is_folder or source.filename.endswith(file.name)) and source.repo_type in (
                "model",
                "space",
            )


def test_the_published_models_are_there_with_what_goes_with_them():
    swin, r101c = find_model("ovseg-swinb-vitl14"), find_model("ovseg-r101c-vitb16")
    assert swin.parts["ovseg"].sources == (
        HuggingFaceSource("facebook/ov-seg", "ovseg_swinbase_vitL14_ft_mpt.pth", "space"),
        GoogleDriveSource("1cn-ohxgXDrDfkzC1QdO-fi8IjbjXmgKy"),
    )
    assert swin.maskformer.generator_options() == {"min_size": 640, "max_size": 2560, "mask_threshold": 0.35}
    assert swin.maskformer.generator_options(evaluation=True)["mask_threshold"] == 0.4
    assert r101c.maskformer.generator_options() == {"min_size": 512, "max_size": 2048, "mask_threshold": 0.35}
    assert r101c.maskformer.generator_options(evaluation=True)["mask_threshold"] == 0.5
    weights = [swin.maskformer.ensemble_weight_for(name) for name in ("ade20k-150", "pascal-context-59")]
    assert [*weights, swin.maskformer.ensemble_weight_for("pascal-voc-20")] == [0.7, 0.6, 0.45]
    for spec in (swin, r101c):
        assert spec.generators == ("sam", "maskformer") and spec.classifies and not spec.bundled
        assert spec.sam.generator_options() == {"long_side": 1280}
        assert "non-commercial" in spec.licence and "Apache-2.0" in spec.licence


def test_simseg_has_its_own_settings():
    cross, zero_shot = find_model("simseg-cross-dataset"), find_model("simseg-zero-shot")
    assert zero_shot.templates == "learned" and cross.templates == "vild"
    for spec in (cross, zero_shot):
        assert spec.maskformer.mask_threshold == 0.5 and spec.licence == "MIT"
        assert spec.maskformer.ensemble_weight_for("ade20k-150") == 0.5
        assert spec.maskformer.ensemble_weight_for("coco-stuff-171") == 0.8


def test_parts_that_do_not_classify_or_do_not_propose_say_so():
    assert not find_model("sam-vit-h").classifies
    assert find_model("clip-vitb16-openai").generators == ()
    assert {find_model(f"sam-vit-{size}").parts["sam"].name[8] for size in "hlb"} == {"h", "l", "b"}


def test_small_sam_encoders_may_be_used_commercially_and_have_the_published_grid():
    for name in ("mobile-sam", "repvit-sam"):
        spec = find_model(name)
        assert spec.generators == ("sam",) and not spec.classifies
        assert spec.licence == "Apache-2.0" and spec.size < find_model("sam-vit-b").size / 3
        assert spec.sam.generator_options() == {"long_side": 1280}


def test_the_bundled_models_are_small_and_free():
    photo, sticker = find_model("photo-mini"), find_model("sticker-world")
    assert photo.bundled and photo.licence == "Apache-2.0" and photo.size < 45_000_000
    assert photo.generators == ("sam", "maskformer") and photo.regions == "mask-pooling"
    assert photo.knows_photographs and not sticker.knows_photographs
    assert find_model(photo.larger).licence == "MIT, Apache-2.0"
    assert find_model(sticker.larger) is photo


def test_the_openai_clips_are_those_that_open_clip_knows():
    for model, architecture in (("clip-vitl14-openai", "ViT-L-14"), ("clip-vitb16-openai", "ViT-B-16")):
        ours = find_model(model).parts["clip"]
        theirs = open_clip_weights(f"{architecture}-quickgelu", "openai")
        assert (ours.sources, ours.sha256, ours.quick_gelu) == (
            theirs.sources,
            theirs.sha256,
            theirs.quick_gelu,
        )


def test_any_open_clip_model_has_a_weights_file():
    laion = open_clip_weights("ViT-B-32", "laion2b_s34b_b79k")
    assert laion.sources == (
        HuggingFaceSource("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip_model.safetensors"),
    )
    assert not laion.quick_gelu and laion.kind is CheckpointKind.CLIP
    with pytest.raises(ModelError, match=r'no weights "nobody" of a model "ViT-B-16"; .*openai'):
        open_clip_weights("ViT-B-16", "nobody")
    with pytest.raises(ModelError, match="list_models"):
        open_clip_weights("ViT-Z-16", "openai")


@pytest.mark.parametrize(
    ("shapes", "min_size", "clip_weight"),
    [
        ({"backbone.patch_embed.proj.weight": (128, 3, 4, 4)}, 640, 0.7),
        ({"backbone.stem.conv1.weight": (64, 3, 3, 3), MASK_PROMPTS: (3, 196, 768)}, 512, 0.7),
        ({"backbone.stem.conv1.weight": (64, 3, 3, 3)}, 512, 0.8),
        ({"backbone.stem.conv1.weight": (16, 3, 3, 3), MASK_PROMPTS: (1, 64, 64)}, 384, 0.7),
        ({"backbone.trunk.conv_stem.weight": (32, 3, 3, 3)}, 384, 0.7),
    ],
)
def test_a_given_file_gets_the_settings_of_what_it_holds(shapes, min_size, clip_weight):
    settings = maskformer_settings_for({name: torch.empty(shape) for name, shape in shapes.items()})
    assert (settings.min_size, settings.ensemble_weight_for(None)) == (min_size, clip_weight)


# ---- where the files are


def tiny(role: str, name: str, *sources, size: int = 10) -> WeightsFile:
    return WeightsFile(name, ROLE_KINDS[role], sources, size, "MIT")


@pytest.fixture
def spec() -> ModelSpec:
    url = UrlSource("https://example.org/x")
    parts = {role: tiny(role, f"{role}.pth", url) for role in ("clip", "sam", "unadapted")}
    return ModelSpec("tiny", "Tiny", "For tests.", parts)


def test_a_model_is_present_when_its_required_parts_are(spec, tmp_path):
    assert spec.missing(tmp_path).keys() == {"clip", "sam"} and not spec.present(tmp_path)
    assert spec.size == 20 and spec.licence == "MIT"
    for name in ("clip.pth", "sam.pth"):
        (tmp_path / name).touch()
    assert spec.present(tmp_path) and not spec.missing(tmp_path)
    assert spec.path("sam", tmp_path) == tmp_path / "sam.pth"


def test_a_part_that_is_not_there_says_how_to_get_it(spec, tmp_path):
    with pytest.raises(ModelError, match=r'"python -m ovseg_demo download tiny"') as caught:
        spec.path("sam", tmp_path)
    assert str(tmp_path / "sam.pth") in str(caught.value)
    with pytest.raises(ModelError, match=r"has no MaskFormer \(.*\); it has CLIP and Segment"):
        spec.path("ovseg", tmp_path)


def test_an_optional_part_is_brought_by_an_entry_of_its_own(tmp_path):
    with pytest.raises(ModelError, match=r'"python -m ovseg_demo download clip-vitl14-openai"'):
        find_model("ovseg-swinb-vitl14").path("unadapted", tmp_path)
    optional = {file for spec in CATALOGUE.values() for file in spec.parts.values()}
    optional -= {file for spec in CATALOGUE.values() for file in spec.required.values()}
    assert all(file.bundled for file in optional)


def test_the_folder_is_chosen_by_the_environment(spec, tmp_path, monkeypatch):
    monkeypatch.delenv("OVSEG_WEIGHTS_DIR", raising=False)
    assert weights_folder().parts[-2:] == ("weights", "downloaded")
    monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path))
    assert weights_folder() == tmp_path
    assert spec.parts["sam"].path() == tmp_path / "sam.pth"
    (tmp_path / "sam.pth").touch()
    assert spec.parts["sam"].present()


def test_bundled_files_lie_in_the_repository(tmp_path):
    file = tiny("sam", "sam.safetensors", BundledSource("sticker-world/sam.safetensors"))
    assert file.path(tmp_path) == ROOT / "weights" / "sticker-world" / "sam.safetensors"
    assert file.bundled and ModelSpec("b", "B", "", {"sam": file}).bundled
