"""CLIPs from folders of open_clip, from its registry, and what cannot be read."""

import hashlib
import json
import shutil
import sys

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file

from ovseg_demo import load_segmenter
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.cli.main import main
from ovseg_demo.errors import (
    CheckpointError,
    DownloadError,
    MissingDependencyError,
    ModelError,
    VocabularyError,
)
from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.models.downloads import download
from ovseg_demo.models.weights_files import HuggingFaceSource, find_open_clip
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmenter import Caches
from ovseg_demo.vocabulary import TOO_MANY_TOKENS, UNKNOWN
from tests.file_server import Resource, serve
from tests.parity.kits import SMALL, load_kit, unpack_folder
from tests.tiny.checkpoints import save_tiny_sam
from tests.tiny.clip import tiny_clip_tensors
from tests.tiny.sam import TINY_SAM_THRESHOLDS

SAM = {**TINY_SAM_THRESHOLDS, "long_side": None}
TEXT = {"context_length": 77, "vocab_size": 2514, "width": 64, "heads": 1, "layers": 2}
CNN = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": 64,
        "timm_model_name": "test_efficientnet",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "mlp",
    },
    "text_cfg": TEXT,
}
VIT = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": TEXT,
}


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    return save_tiny_sam(tmp_path_factory.mktemp("sam") / "sam.pth")


def write_clip(folder, config, **preprocessing):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = CLIP(**json.loads(json.dumps(config)))
    save_file(
        {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing})
    )
    return folder


def load(sam, clip, **options):
    return load_segmenter(sam=sam, clip=clip, sam_options=SAM, device="cpu", precision="float32", **options)


def image():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.mark.parametrize(
    ("config", "regions"),
    [
        (CNN, None),
        (CNN, "fc-clip"),
        (CNN, "soft-pooling"),
        (CNN, "crops"),
        (VIT, None),
        (VIT, "crops"),
    ],
)
def test_a_folder_in_the_layout_of_open_clip_segments(tmp_path, sam, config, regions):
    folder = write_clip(tmp_path / "clip", config, mean=[0.5] * 3, std=[0.5] * 3)
    segmenter = load(sam, folder, regions=regions)
    analysis = segmenter.analyze(image())
    np.testing.assert_allclose(np.linalg.norm(analysis.regions, axis=1), 1, atol=1e-5)
    segmentation = analysis.segment("dog, grass / lawn, tree", granularity=0)
    assert (segmentation.label_map >= 0).any()
    assert len(segmentation.explain(3, 4).masks) > 0


def test_the_weights_inside_a_folder_are_read_with_its_configuration(tmp_path, sam):
    folder = write_clip(tmp_path / "clip", CNN)
    whole, inside = load(sam, folder), load(sam, folder / "open_clip_model.safetensors")
    before = whole.fingerprint()
    assert inside.fingerprint() == before
    moved = folder.rename(tmp_path / "moved")
    assert load(sam, moved).fingerprint() == before, "its place does not matter"
    config = moved / "open_clip_config.json"
    config.write_text(f"{config.read_text()}\n")
    assert load(sam, moved).fingerprint() != before, "the content of each file does"


def test_the_pixels_are_normalised_as_the_configuration_says(tmp_path, sam):
    one = write_clip(tmp_path / "one", CNN, mean=[0.5] * 3, std=[0.5] * 3)
    other = write_clip(tmp_path / "other", CNN)
    assert not np.allclose(
        load(sam, one).analyze(image()).regions, load(sam, other).analyze(image()).regions, atol=1e-3
    )


def test_all_ways_to_read_regions_differ_and_the_cache_keeps_them_apart(tmp_path, sam):
    folder, found = write_clip(tmp_path / "clip", CNN), {}
    for regions in ("mask-pooling", "fc-clip", "crops"):
        segmenter = load(sam, folder, regions=regions)
        found[segmenter.fingerprint()] = segmenter.analyze(image()).regions
    assert len(found) == 3
    first, *others = found.values()
    assert all(not np.allclose(first, other, atol=1e-3) for other in others)


def test_openai_files_can_be_read_once_for_the_image(tmp_path, sam):
    torch.save(tiny_clip_tensors(mask_prompt_depth=0), tmp_path / "clip.pth")
    crops, tiles = (load(sam, tmp_path / "clip.pth", regions=regions) for regions in (None, "text-region"))
    assert crops.analyze(image()).logit_scale == 100
    analysis = tiles.analyze(image())
    assert analysis.logit_scale == 50 and (analysis.segment("dog, cat").label_map >= 0).any()


def test_native_tiles_have_the_side_that_the_tower_was_trained_with(tmp_path, sam):
    torch.save(tiny_clip_tensors(mask_prompt_depth=0), tmp_path / "clip.pth")
    segmenters = [load(sam, tmp_path / "clip.pth", regions=f"text-region{kind}") for kind in ("", "-native")]
    published, native = (segmenter.analyze(image()) for segmenter in segmenters)
    assert segmenters[0].fingerprint() != segmenters[1].fingerprint()
    assert not np.allclose(published.regions, native.regions, atol=1e-3)
    assert native.logit_scale == 50 and (native.segment("dog, cat").label_map >= 0).any()


def test_tiles_are_resized_as_the_configuration_says(tmp_path, sam):
    found = [
        load(sam, write_clip(tmp_path / str(number), VIT, **pixels)).analyze(image()).regions
        for number, pixels in enumerate([{}, {"interpolation": "bicubic"}, {"interpolation": "bilinear"}])
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2], atol=1e-5)


def test_the_activation_that_is_asked_for_replaces_that_of_the_configuration(tmp_path, sam):
    folder = write_clip(tmp_path / "clip", VIT)
    configured = write_clip(tmp_path / "quick", {**VIT, "quick_gelu": True})
    plain, asked, quick = load(sam, folder), load(sam, folder, quick_gelu=True), load(sam, configured)
    assert plain.fingerprint() == load(sam, folder, quick_gelu=False).fingerprint() != asked.fingerprint()
    regions = [segmenter.analyze(image()).regions for segmenter in (plain, asked, quick)]
    assert not np.allclose(regions[0], regions[1], atol=1e-3)
    np.testing.assert_allclose(regions[1], regions[2], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "quick"), [("ViT-B-16/dfn2b", True), ("ViT-B-16/datacomp_xl_s13b_b90k", False)]
)
def test_the_tag_of_a_registered_model_tells_its_activation(tmp_path, sam, monkeypatch, name, quick):
    file = find_open_clip(f"open_clip:{name}")
    assert file.quick_gelu == quick
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(VIT)))
    folder = write_clip(tmp_path / "clip", {**VIT, "quick_gelu": quick})
    shutil.copy(folder / "open_clip_model.safetensors", file.path(tmp_path))
    analyses = [load(sam, clip, folder=tmp_path).analyze(image()) for clip in (f"open_clip:{name}", folder)]
    np.testing.assert_allclose(analyses[0].regions, analyses[1].regions, atol=2e-2)


def test_a_corrected_configuration_has_other_keys_in_the_caches(tmp_path, sam):
    wrong = {
        tower: {**VIT[tower], "act_kwargs": {"approximate": "tanh"}} for tower in ("vision_cfg", "text_cfg")
    }
    folder, caches = write_clip(tmp_path / "clip", {**VIT, **wrong}), Caches()
    config = folder / "open_clip_config.json"
    before = load(sam, folder, caches=caches)
    regions, names = before.analyze(image()).regions, before.text_encoder().encode(["dog"]).vectors
    config.write_text(json.dumps({"model_cfg": VIT, "preprocess_cfg": {}}))
    after = load(sam, folder, caches=caches)
    assert not np.array_equal(after.analyze(image()).regions, regions)
    assert not np.array_equal(after.text_encoder().encode(["dog"]).vectors, names)


def test_another_tokenizer_has_other_keys_in_the_caches(tmp_path, sam):
    pytest.importorskip("tokenizers", reason='needs the package "tokenizers"')
    folder = shutil.copytree(unpack_folder(SMALL / "open_clip_timm"), tmp_path / "clip")
    classifier = load(sam, folder)._classifiers["mask-adapted"].get()
    file = folder / "tokenizer.json"
    file.write_text(file.read_text() + " ")
    assert load(sam, folder)._classifiers["mask-adapted"].get().text_key("vild") != classifier.text_key(
        "vild"
    )


def test_siglip_reads_names_with_its_own_tokenizer(sam):
    pytest.importorskip("tokenizers", reason='needs the package "tokenizers"')
    segmenter = load(sam, unpack_folder(SMALL / "open_clip_timm"))
    names = segmenter.text_encoder().encode(["dog", "grass", "Dog!"]).vectors
    np.testing.assert_allclose(names[0], names[2], atol=1e-6)  # the tokenizer's cleaning
    assert names[0] @ names[1] < 0.999
    long = "x9" * 45
    with pytest.raises(VocabularyError, match=r"reads at most 64\. Use a shorter name"):
        segmenter.text_encoder().encode([long])
    found = segmenter.text_encoder().obstacles(["dog", long, "狗"])
    assert found == {long: TOO_MANY_TOKENS, "狗": UNKNOWN}
    with pytest.raises(ModelError, match="no learned prompts"):
        segmenter.text_encoder().obstacles(["dog"], "learned")


def test_where_the_package_tokenizers_is_missing_the_error_has_its_command(sam, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError, match='tokenizers; install it with "pip install tokenizers"'):
        load(sam, unpack_folder(SMALL / "open_clip_timm")).segment(image(), "dog")


def test_a_folder_without_its_tokenizer_says_what_is_missing(tmp_path, sam):
    pytest.importorskip("tokenizers", reason='needs the package "tokenizers"')
    folder = shutil.copytree(unpack_folder(SMALL / "open_clip_timm"), tmp_path / "clip")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r'put its "tokenizer.json" beside the weights'):
        load(sam, folder).segment(image(), "dog")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        load(sam, folder).segment(image(), "dog")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"text_cfg": {**TEXT, "hf_model_name": "roberta-base"}},
            'text tower of this CLIP is "roberta-base"',
        ),
        ({"multimodal_cfg": {}}, "CoCa"),
        ({"vision_cfg": {"timm_model_name": "hf-hub:x/y", "image_size": 64}}, '"hf-hub:x/y" is not the name'),
        ({"vision_cfg": {"timm_model_name": "nonsense", "image_size": 64}}, "cannot be built: .*nonsense"),
        ({"vision_cfg": {"colour": 1}}, "cannot be built"),
        ({"embed_dim": 48}, "has the shape .* where the others ask for"),
        ({"vision_cfg": None}, "are needed"),
        ({"text_cfg": {**TEXT, "hf_tokenizer_name": "x/y"}}, "reads texts neither as CLIP's nor as SigLIP's"),
        ({"text_cfg": {**TEXT, "pool_type": "last"}}, "reads texts neither as CLIP's nor as SigLIP's"),
    ],
)
def test_configurations_that_cannot_be_built(tmp_path, sam, change, message):
    folder = write_clip(tmp_path / "clip", CNN)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**CNN, **change}}))
    with pytest.raises(CheckpointError, match=message):
        load(sam, folder).analyze(image())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", 'has no "model_cfg"'),
        ('{"model_cfg": {}, "preprocess_cfg": 3}', "table"),
        ('{"model_cfg": {}, "preprocess_cfg": {"mean": "grey"}}', "three numbers each"),
    ],
)
def test_damaged_configurations(tmp_path, sam, text, message):
    folder = write_clip(tmp_path / "clip", CNN)
    (folder / "open_clip_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load(sam, folder)


def test_what_a_folder_lacks(tmp_path, sam):
    folder = write_clip(tmp_path / "clip", CNN)
    weights = folder / "open_clip_model.safetensors"
    alone = tmp_path / "alone.safetensors"
    shutil.copy(weights, alone)
    with pytest.raises(CheckpointError, match=r'put its "open_clip_config.json" beside it'):
        load(sam, alone)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r'has no weights; put "open_clip_model.safetensors"'):
        load(sam, folder)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(CheckpointError, match=r'folder without "open_clip_config.json"'):
        load(sam, folder)


def test_regions_that_an_image_tower_cannot_read(tmp_path, sam):
    cnn, vit = write_clip(tmp_path / "cnn", CNN), write_clip(tmp_path / "vit", VIT)
    with pytest.raises(ModelError, match=r'"text-region" needs a CLIP with a ViT'):
        load(sam, cnn, regions="text-region").analyze(image())
    with pytest.raises(ModelError, match=r'"fc-clip" needs a CLIP with a convolutional image tower'):
        load(sam, vit, regions="fc-clip").analyze(image())
    with pytest.raises(ModelError, match=r'no way to read regions "squares"; choose one of auto, crops'):
        load(sam, vit, regions="squares").analyze(image())


def test_text_region_refuses_a_vit_that_does_not_read_its_class_token(tmp_path, sam):
    vision = {**VIT["vision_cfg"], "pool_type": "avg"}
    folder = write_clip(tmp_path / "clip", {**VIT, "vision_cfg": vision})
    with pytest.raises(ModelError, match="like CLIP's or SigLIP's"):
        load(sam, folder, regions="text-region").analyze(image())
    crops, auto = (load(sam, folder, regions=regions) for regions in ("crops", None))
    assert auto.fingerprint() == crops.fingerprint()


def test_layer_scale_is_applied_in_both_towers(tmp_path, sam):
    scaled = {tower: {**VIT[tower], "ls_init_value": 0.1} for tower in ("vision_cfg", "text_cfg")}
    folder = write_clip(tmp_path / "clip", {**VIT, **scaled})
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    classifier = load(sam, folder)._classifiers["mask-adapted"].get()
    names = classifier.names.embed(["dog"], "photo")
    ids = torch.zeros(1, 77, dtype=torch.int64)
    tokens = Tokenizer(TEXT["vocab_size"], 77).encode("a photo of dog")
    ids[0, : len(tokens) + 2] = torch.tensor([2512, *tokens, 2513])
    with torch.no_grad():
        np.testing.assert_allclose(names, model.encode_text(ids, normalize=True).numpy(), atol=1e-5)


def test_an_unadapted_clip_of_another_kind_is_read_in_its_own_way(tmp_path, sam):
    cnn = write_clip(tmp_path / "cnn", CNN)
    torch.save(tiny_clip_tensors(mask_prompt_depth=0), tmp_path / "clip.pth")
    segmenter = load(sam, cnn, unadapted=tmp_path / "clip.pth")
    assert segmenter.analyze(image(), classifier="un-adapted").logit_scale == 100


@pytest.mark.parametrize(
    ("config", "regions"),
    [(CNN, "fc-clip"), (CNN, "soft-pooling"), (VIT, "text-region"), (VIT, "text-region-native")],
)
def test_a_small_mask_is_read_as_a_crop_and_the_result_says_so(tmp_path, sam, config, regions):
    folder = write_clip(tmp_path / "clip", config)
    analyses = {}
    for count in (1, 20):
        masks = np.zeros((1 + count, 768, 1024), bool)
        masks[0, 100:600, 100:900] = True
        for index in range(count):  # the first is the smallest
            masks[1 + index, 700, 40 * index : 40 * index + 1 + index // 10] = True
        scene = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), np.uint8)
        proposals = Proposals.from_masks(masks, np.ones(len(masks)), scene, (768, 1024), "sam")
        for way in (regions, "crops"):
            analyses[way, count] = load(sam, folder, regions=way).classify(scene, proposals)
    one, crop = analyses[regions, 1], analyses["crops", 1]
    np.testing.assert_allclose(one.regions[1], crop.regions[1], atol=1e-4)
    assert not np.allclose(one.regions[0], crop.regions[0], atol=1e-2)
    assert "1 mask is smaller than a cell" in one.notes[0] and one.notes[0].endswith("read as a crop")
    many, crops = analyses[regions, 20], analyses["crops", 20]
    is_crop = np.isclose(many.regions, crops.regions, atol=1e-4).all(axis=1)
    assert is_crop[11:].all() and is_crop.sum() == 16, "the largest"
    np.testing.assert_allclose(np.linalg.norm(many.regions, axis=1), 1, atol=1e-5)
    assert many.notes[0].endswith("and read as crops (16) or at their nearest cell")


def test_maskclippp_replaces_the_image_tower_and_adapts_names_to_the_image(sam):
    files = load_kit(SMALL / "maskclippp")
    clip = files.weights_path("open_clip_model.safetensors")
    plain = load(sam, clip)
    tuned = load(sam, clip, maskclippp=files.checkpoint_path)
    analysis = tuned.analyze(image())
    assert analysis.adaptation is not None and analysis.adaptation.nbytes > 0
    assert analysis.nbytes > plain.analyze(image()).nbytes
    few, more = (analysis.segment(names, granularity=0) for names in ("dog, grass", "dog, grass, bicycle"))
    assert few.probabilities.shape[1] == 2 and more.probabilities.shape[1] == 3
    again = tuned.analyze(image())
    np.testing.assert_array_equal(again.segment("dog, grass", granularity=0).label_map, few.label_map)


def test_maskclippp_reads_regions_in_one_way_only(sam):
    files = load_kit(SMALL / "maskclippp")
    clip = files.weights_path("open_clip_model.safetensors")
    with pytest.raises(ModelError, match=r'MaskCLIP\+\+ reads regions by "soft-pooling", not by "crops"'):
        load(sam, clip, maskclippp=files.checkpoint_path, regions="crops").analyze(image())


def test_models_of_the_registry_have_a_file_a_configuration_and_a_tokenizer(tmp_path):
    convnext = find_open_clip("open_clip:convnext_base_w/laion2b_s13b_b82k")
    assert convnext.architecture == "convnext_base_w/laion2b_s13b_b82k" and convnext.tokenizer is None
    siglip = find_open_clip("open_clip:ViT-B-16-SigLIP2-256/webli")
    assert siglip.tokenizer.sources == (HuggingFaceSource("timm/ViT-B-16-SigLIP2-256", "tokenizer.json"),)
    siglip.path(tmp_path).write_bytes(b"weights")
    assert not siglip.present(tmp_path)
    with pytest.raises(ModelError, match=r'has no tag; write "open_clip:NAME/TAG"'):
        find_open_clip("open_clip:ViT-B-16")
    with pytest.raises(ModelError, match=r'get it with "ovseg download open_clip:ViT-B-32/openai"'):
        load_segmenter(clip="open_clip:ViT-B-32/openai", folder=tmp_path)


def test_a_downloaded_model_of_the_registry_is_built_from_its_registered_configuration(
    tmp_path, sam, monkeypatch
):
    file = find_open_clip("open_clip:RN50/yfcc15m")
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(CNN)))
    shutil.copy(write_clip(tmp_path / "clip", CNN) / "open_clip_model.safetensors", file.path(tmp_path))
    segmenter = load(sam, "open_clip:RN50/yfcc15m", folder=tmp_path)
    assert (segmenter.segment(image(), "dog, cat").label_map >= 0).any()


def test_a_model_of_the_registry_is_downloaded_remembered_and_segments(tmp_path, sam, monkeypatch):
    name, address = "open_clip:RN50/yfcc15m", "/clip.safetensors"
    published = (write_clip(tmp_path / "clip", CNN) / "open_clip_model.safetensors").read_bytes()
    with serve({address: Resource(published)}) as server:
        entry = {"url": server.url + address, "mean": [0.5] * 3, "std": [0.5] * 3}
        monkeypatch.setattr(open_clip, "get_model_config", lambda name: json.loads(json.dumps(CNN)))
        monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: entry)
        monkeypatch.setenv("OVSEG_WEIGHTS_DIR", str(tmp_path / "weights"))
        with pytest.raises(ModelError, match=f'get it with "ovseg download {name}"'):
            load(sam, name)
        assert main(["download", name]) == 0

        file = find_open_clip(name).path()
        record = json.loads(file.with_name(f"{file.name}.json").read_text())
        assert record["sha256"] == hashlib.sha256(published).hexdigest()
        assert (load(sam, name).segment(image(), "dog, cat").label_map >= 0).any()

        file.unlink()
        server.resources[address].content = published[:-4] + bytes(4)  # another version of the weights
        with pytest.raises(DownloadError, match=r"recorded in .* was expected"):
            download(find_open_clip(name))
        assert not file.exists()
        server.resources[address].content = published
        assert download(find_open_clip(name)) == file and file.read_bytes() == published


def test_the_catalogue_has_a_photograph_model_that_may_be_used_commercially():
    fast = CATALOGUE["fast-photo"]
    assert fast.classifies and fast.generators == ("sam",) and fast.regions == "fc-clip"
    assert set(fast.licence.split(", ")) == {"MIT", "Apache-2.0"}
    assert set(CATALOGUE["maskclippp-convnext-b"].required) == {"clip", "maskclippp", "sam"}
    assert CATALOGUE["textregion-vitl14-336"].templates == "imagenet"


def test_half_precision_files_are_computed_in_float32(tmp_path, sam):
    folder = write_clip(tmp_path / "clip", VIT)
    tensors = load_file(folder / "open_clip_model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert load(sam, folder).analyze(image()).regions.dtype == np.float32
