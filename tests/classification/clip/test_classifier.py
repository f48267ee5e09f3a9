"""The classifier as the segmenter meets it: proposals and names in, unit-length embeddings out."""

import numpy as np
import open_clip
import pytest
import torch
from torch.nn import functional as F

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip
from ovseg_demo.errors import Cancelled, CheckpointError, ModelError, VocabularyError
from ovseg_demo.progress import EMBEDDING_REGIONS, ENCODING_NAMES
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import TEMPLATES
from tests.tiny.clip import tiny_clip_tensors

FLOAT32 = Runtime(torch.device("cpu"), torch.float32)
BFLOAT16 = Runtime(torch.device("cpu"), torch.bfloat16)
NAMES = ["dog", "white roses", "a rather long class name of many words", "Saturn V", "犬"]


def make_clip(runtime: Runtime = FLOAT32, **sizes) -> MaskAdaptedClip:
    return MaskAdaptedClip.from_tensors(tiny_clip_tensors(**sizes), runtime=runtime)


def make_proposals(count: int = 5) -> Proposals:
    """Slanted bands on noise, whose boxes have blank corners; the last mask is one pixel in the corner."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :64]
    masks = np.zeros((count, 48, 64), dtype=bool)
    for mask in masks:
        slope, offset, thickness = rng.uniform(-1.5, 1.5), rng.uniform(10, 40), rng.uniform(1, 8)
        mask[:] = abs(slope * (columns - 32) + offset - rows) < thickness
    masks[-1] = (rows == 47) & (columns == 63)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Proposals.from_masks(masks, np.ones(count), image, (48, 64), "sam")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1)


def test_embeddings_are_unit_length_float32():
    clip = make_clip(BFLOAT16)
    regions, names = clip.embed_regions(make_proposals()).vectors, clip.embed_names(NAMES, "vild")
    assert regions.shape == names.shape == (5, 32)
    for embeddings in (regions, names):
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)


def test_different_regions_and_names_have_different_embeddings():
    clip = make_clip()
    for embeddings in (clip.embed_regions(make_proposals()).vectors, clip.embed_names(NAMES, "vild")):
        others = (embeddings @ embeddings.T)[~np.eye(5, dtype=bool)]
        assert others.max() < 0.999


@pytest.mark.parametrize("mask_prompts", [True, False])
def test_bfloat16_stays_close_to_float32(mask_prompts):
    proposals = make_proposals()
    exact, fast = (
        make_clip(runtime).embed_regions(proposals, mask_prompts=mask_prompts).vectors
        for runtime in (FLOAT32, BFLOAT16)
    )
    assert cosines(exact, fast).min() > 0.999
    exact, fast = (make_clip(runtime).embed_names(NAMES, "vild") for runtime in (FLOAT32, BFLOAT16))
    assert cosines(exact, fast).min() > 0.999


def test_mask_prompts_can_be_switched_off():
    clip, proposals = make_clip(), make_proposals()
    tensors = tiny_clip_tensors()
    del tensors[MASK_EMBEDDING]
    plain = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32)
    assert clip.has_mask_prompts and not plain.has_mask_prompts
    without = clip.embed_regions(proposals, mask_prompts=False).vectors
    assert cosines(clip.embed_regions(proposals).vectors, without)[:-1].max() < 0.99
    np.testing.assert_array_equal(plain.embed_regions(proposals).vectors, without)


def test_an_unadapted_clip_takes_regions_as_they_are():
    clip, proposals = make_clip(mask_prompt_depth=0), make_proposals()
    np.testing.assert_array_equal(
        clip.embed_regions(proposals).vectors, clip.embed_regions(proposals, mask_prompts=False).vectors
    )


def test_the_activation_is_a_choice():
    proposals = make_proposals()
    quick, exact = (
        MaskAdaptedClip.from_tensors(tiny_clip_tensors(), runtime=FLOAT32, quick_gelu=quick_gelu)
        for quick_gelu in (True, False)
    )
    assert (
        cosines(quick.embed_regions(proposals).vectors, exact.embed_regions(proposals).vectors).max()
        < 0.99999
    )
    assert quick.fingerprint != exact.fingerprint


@pytest.mark.parametrize("templates", TEMPLATES)
def test_names_are_averaged_over_the_templates(templates):
    tensors = tiny_clip_tensors(vocabulary_size=49408)
    model = build_clip(tensors)
    embeddings = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32).embed_names(NAMES, templates)
    for name, embedding in zip(NAMES, embeddings, strict=True):
        ids = open_clip.tokenizer.tokenize([template.format(name) for template in TEMPLATES[templates]])
        with torch.no_grad():
            features = model.encode_text(ids, normalize=True)
        expected = F.normalize(features.mean(dim=0), dim=0)
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_a_name_does_not_depend_on_its_company():
    clip = make_clip()
    together = clip.embed_names(NAMES * 8, "vild")
    alone = np.concatenate([clip.embed_names([name], "vild") for name in NAMES] * 8)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_region_does_not_depend_on_its_company():
    clip, proposals = make_clip(grid=10, patch=4), make_proposals(25)  # 101 tokens a region: several batches
    alone = []
    for i in range(25):
        one = Proposals.from_masks(
            proposals.unpack([i]), np.ones(1), proposals.working_image, proposals.image_size, "sam"
        )
        alone.append(clip.embed_regions(one).vectors)
    np.testing.assert_allclose(clip.embed_regions(proposals).vectors, np.concatenate(alone), atol=1e-5)


def test_practically_equal_masks_are_embedded_once():
    clip, proposals = make_clip(), make_proposals(4)
    masks = np.concatenate([proposals.masks, proposals.masks[::-1]])
    doubled = Proposals.from_masks(masks, np.ones(8), proposals.working_image, proposals.image_size, "sam")
    reports = []
    embeddings = clip.embed_regions(doubled, progress=lambda *report: reports.append(report)).vectors
    np.testing.assert_array_equal(embeddings, embeddings[[0, 1, 2, 3, 3, 2, 1, 0]])
    np.testing.assert_allclose(embeddings[:4], clip.embed_regions(proposals).vectors, atol=1e-5)
    assert {report[2] for report in reports} == {4}


@pytest.mark.parametrize("prompts", [(5, 2), (16, 0), (0, 3)])
def test_learned_prompts_surround_the_bare_name(prompts):
    tensors = tiny_clip_tensors(vocabulary_size=49408, prompts=prompts)
    model = build_clip(tensors)
    clip = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32)
    embeddings = clip.embed_names(NAMES, "learned")
    for name, embedding in zip(NAMES, embeddings, strict=True):
        with torch.no_grad():
            expected = F.normalize(encode_learned(model, tensors, name), dim=0)
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def encode_learned(model: open_clip.CLIP, tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """Return SimSeg's prompt of one name by the definition, padded to the whole context."""
    start, *rest = open_clip.tokenizer.tokenize(name)[0].tolist()
    words = rest[: rest.index(49407)]
    (dot,) = open_clip.tokenizer.SimpleTokenizer().encode(".")
    table = model.token_embedding.weight
    prefix, suffix = (tensors[f"prompt_learner.{part}_prompt"] for part in ("prefix", "suffix"))
    rows = [table[[start]], prefix, table[words], suffix, table[[dot]], table[[49407]]]
    end = sum(map(len, rows)) - 1
    x = torch.cat([*rows, table[[0] * (76 - end)]])[None] + model.positional_embedding
    x = model.transformer(x, attn_mask=model.attn_mask)
    return model.ln_final(x[0, end]) @ model.text_projection


def test_simsegs_copies_of_fixed_tokens_are_not_needed():
    tensors = tiny_clip_tensors(prompts=(4, 1))
    expected = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32).embed_names(NAMES, "learned")
    copies = {f"prompt_learner.{name}_signal": torch.zeros(1, 64) for name in ("start", "dot", "end", "pad")}
    clip = MaskAdaptedClip.from_tensors(tensors | copies, runtime=FLOAT32)
    np.testing.assert_array_equal(clip.embed_names(NAMES, "learned"), expected)


def test_learned_prompts_that_a_model_lacks_are_refused():
    clip = make_clip()
    assert not clip.has_learned_prompts
    with pytest.raises(ModelError, match="no learned prompts; choose other templates: vild, photo"):
        clip.embed_names(["dog"], "learned")


def test_unknown_templates_are_refused():
    with pytest.raises(ModelError, match='no prompt templates "vlid"'):
        make_clip().embed_names(["dog"], "vlid")


@pytest.mark.parametrize("templates", ["vild", "learned"])
def test_a_name_longer_than_the_context_is_refused_by_name(templates):
    clip = make_clip(context_length=24, prompts=(10, 2))
    assert clip.embed_names(["dog"], templates).shape == (1, 32)
    with pytest.raises(VocabularyError, match=r'"green dianthus flower" makes a text of .* reads at most 24'):
        clip.embed_names(["dog", "green dianthus flower"], templates)


def test_nothing_in_nothing_out():
    clip = make_clip()
    assert clip.embed_names([], "vild").shape == (0, 32)
    nothing = Proposals.from_masks(
        np.zeros((0, 9, 9), dtype=bool), [], np.zeros((9, 9, 3), np.uint8), (9, 9), "sam"
    )
    assert clip.embed_regions(nothing).vectors.shape == (0, 32)


def test_progress_counts_regions_and_names_up_to_all():
    clip = make_clip(grid=16, patch=4)
    reports = []
    clip.embed_regions(make_proposals(9), progress=lambda *report: reports.append(report))
    clip.embed_names(NAMES * 4, "vild", progress=lambda *report: reports.append(report))
    for stage, total in ((EMBEDDING_REGIONS, 9), (ENCODING_NAMES, 20)):
        done = [report[1] for report in reports if report[0] == stage]
        assert done[0] == 0 and done[-1] == total and len(done) > 2
        assert done == sorted(done)
        assert {report[2] for report in reports if report[0] == stage} == {total}


def test_partial_embeddings_come_with_the_largest_regions_first():
    clip, proposals = make_clip(grid=16, patch=4), make_proposals(9)
    seen = []
    embeddings = clip.embed_regions(proposals, on_regions=seen.append).vectors
    order = np.argsort(-proposals.masks.sum(axis=(1, 2)), kind="stable")
    counts = [int(so_far.any(axis=1).sum()) for so_far in seen]
    assert counts == sorted(counts) and len(counts) > 1 and counts[-1] == 9
    for count, so_far in zip(counts, seen, strict=True):
        np.testing.assert_array_equal(so_far[order[:count]], embeddings[order[:count]])
        assert not so_far[order[count:]].any()


def test_work_stops_when_it_is_cancelled():
    clip = make_clip(grid=16, patch=4)

    def cancel_after_the_first(stage: str, done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        clip.embed_regions(make_proposals(9), progress=cancel_after_the_first)


def test_prompts_that_do_not_fit_the_image_tower_are_refused():
    tensors = tiny_clip_tensors() | {MASK_EMBEDDING: torch.zeros(3, 9, 128)}
    with pytest.raises(
        CheckpointError, match=r"mask prompts have the shape \(3, 9, 128\).*\(depth, 16, 128\)"
    ):
        MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32)


def test_prompts_that_do_not_fit_the_text_tower_are_refused():
    tensors = tiny_clip_tensors(prompts=(4, 2)) | {"prompt_learner.suffix_prompt": torch.zeros(2, 32)}
    with pytest.raises(CheckpointError, match=r"shapes \(4, 64\) and \(2, 32\); this text tower is 64 wide"):
        MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32)


def test_the_callers_tensors_stay_as_they_are():
    tensors = tiny_clip_tensors()
    clip = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32)
    clip.embed_regions(make_proposals())
    clip.embed_names(NAMES, "vild")
    untouched = tiny_clip_tensors()
    assert all(torch.equal(tensors[name], untouched[name]) for name in untouched)
    assert clip.input_size == 32
