"""Training of the CLIP for photographs, at toy size and from made-up teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ovseg_demo.errors import CheckpointError, DatasetError
from ovseg_demo.evaluation.photos import (
    NamedRegions,
    best_ious,
    held_out,
    measure_coverage,
    measure_covering,
    measure_pixels,
)
from ovseg_demo.evaluation.photos import main as measure
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.resources import bundled
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.photos import sources
from ovseg_demo.training.photos.clip import labelled_sources
from ovseg_demo.training.photos.naming import (
    Labelled,
    NamingSettings,
    adapt,
    average,
    name_scores,
    start_head,
)
from ovseg_demo.training.photos.nouns import Hypernyms, wordnet_nouns
from ovseg_demo.training.photos.region_features import RegionFeatures, pool
from ovseg_demo.training.photos.stamps import noun_of
from ovseg_demo.training.photos.text_tower import (
    TeacherNouns,
    TextSettings,
    TextTask,
    embed_names,
    encode_text,
    load_text,
    read_text,
    start_from,
    text_clip,
)
from ovseg_demo.training.schedule import LoopSettings

TEXT = TextSettings(
    vocabulary_size=2000,
    context_length=16,
    width=64,
    layers=2,
    heads=1,
    embed_dim=32,
    loop=LoopSettings(steps=30, batch_size=16, warmup_steps=2, log_every=10),
)
NOUNS = ["cat", "dog", "house", "tree", "road", "sky", "red cat", "small dog"] * 10


@pytest.fixture(scope="module")
def nouns() -> TeacherNouns:
    """What a made-up teacher says: random directions."""
    torch.manual_seed(0)
    table = torch.zeros(TEXT.vocabulary_size, 24)
    table[600:] = F.normalize(torch.randn(TEXT.vocabulary_size - 600, 24), dim=-1)
    embeddings = F.normalize(torch.randn(8, 24), dim=-1).repeat(10, 1)
    return TeacherNouns(NOUNS, F.pad(embeddings, (0, 8)), table)


def test_the_text_tower_learns_the_teachers_embeddings(nouns: TeacherNouns, tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = TextTask(TEXT, nouns)
    before = task.eval().evaluate()
    path = run_training(task, TEXT.loop, tmp_path, Runtime(torch.device("cpu")))
    assert task.eval().evaluate()["cosine"] > before["cosine"] + 0.2
    tensors = torch.load(path, weights_only=True)
    assert not any(name.startswith("visual.") for name in tensors)
    assert tensors["text_projection"].dtype == torch.float16


def test_the_text_tower_learns_on_another_device_than_its_data(nouns: TeacherNouns) -> None:
    """The device "meta" computes no values, but refuses what would mix a GPU's tensors with the CPU's."""
    task = TextTask(TEXT, nouns).eval()
    data = task.dataset()
    batch = task.collate([data[index] for index in range(4)])
    task.to("meta")
    seen = []
    task.clip.token_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0].device.type))
    loss, _ = task([tensor.to("meta") for tensor in batch])
    assert loss.device.type == "meta"
    with pytest.raises(RuntimeError, match="item"):  # of the figures, at the end
        task.evaluate()
    assert seen == ["meta", "meta"]


def test_a_tower_of_fewer_tokens_starts_from_a_larger_one(nouns: TeacherNouns) -> None:
    torch.manual_seed(0)
    larger = TextTask(TEXT, nouns)
    smaller = TextTask(replace(TEXT, vocabulary_size=1500), nouns)
    start_from(
        smaller.clip, {n: t for n, t in larger.clip.state_dict().items() if not n.startswith("visual.")}
    )
    names = ["red cat", "a"]  # words whose tokens both have
    expected, found = (embed_names(t.clip, t.tokenizer, names, ("{}",)) for t in (larger, smaller))
    torch.testing.assert_close(found, expected)


def test_the_text_tower_of_a_whole_clip_is_read(tmp_path: Path) -> None:
    whole = text_clip(TEXT).half()
    save_file(whole.state_dict(), tmp_path / "open_clip_model.safetensors")
    found = text_clip(TEXT)
    load_text(found, read_text(tmp_path / "open_clip_model.safetensors"))
    torch.testing.assert_close(found.text_projection, whole.text_projection.float())


def test_a_tower_of_other_sizes_is_no_start(nouns: TeacherNouns) -> None:
    wider = text_clip(replace(TEXT, width=128, heads=2)).state_dict()
    with pytest.raises(CheckpointError, match="do not make up the text tower of these sizes"):
        start_from(
            TextTask(TEXT, nouns).clip, {n: t for n, t in wider.items() if not n.startswith("visual.")}
        )


def test_without_features_there_is_nothing_to_adapt_to(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"no features of regions in {tmp_path}; make them with the stage"):
        labelled_sources(photographs, tmp_path, tmp_path, (torch.zeros(1), torch.zeros(1)), len, set())


def test_encoded_text_is_open_clips(nouns: TeacherNouns) -> None:
    clip = text_clip(TEXT).eval()
    task = TextTask(TEXT, nouns)
    ids = task.tokenizer(["a photo of a cat.", "dog"])
    with torch.inference_mode():
        torch.testing.assert_close(encode_text(clip, ids[:, :9]), clip.encode_text(ids), atol=1e-5, rtol=1e-4)


def test_the_start_names_regions_by_the_classifiers_largest_logits() -> None:
    torch.manual_seed(0)
    classifier = (torch.eye(6, 10) * 8, torch.zeros(6))
    texts = F.normalize(torch.randn(6, 12), dim=-1)
    head = start_head(classifier, texts, embed_dim=16)
    features = np.eye(6, 10, dtype=np.float16)
    scores = name_scores(head, features, F.pad(texts, (0, 4)))
    assert (scores.argmax(axis=1) == np.arange(6)).all()


def test_adaptation_learns_labels_and_averaging_goes_back() -> None:
    torch.manual_seed(0)
    classifier = (torch.randn(6, 10), torch.zeros(6))
    texts = F.normalize(torch.randn(4, 16), dim=-1)
    start = start_head(classifier, texts[:, :12].repeat(2, 1)[:6], embed_dim=16)
    features = torch.randn(4, 10).repeat(20, 1)
    regions = RegionFeatures(
        features.numpy().astype(np.float16),
        np.array(["cat", "dog", "tree", "sky"] * 20),
        np.full(80, 5000),
        np.array(["x.jpg"] * 80),
    )
    labelled = Labelled.of_names(regions, ["cat", "dog", "tree", "sky"], texts)
    settings = NamingSettings(steps=80, batch_size=32, learning_rate=1e-2, keep=0.0)
    adapted = adapt(start, {"coco": labelled}, settings)
    scores = name_scores(adapted, regions.features, texts)
    assert (scores.argmax(axis=1) == np.arange(80) % 4).mean() > 0.95
    back = average(start, adapted, 1.0)
    np.testing.assert_allclose(
        name_scores(back, regions.features, texts), name_scores(start, regions.features, texts), atol=1e-5
    )


def test_pooling_is_the_mean_under_the_mask() -> None:
    features = torch.arange(12.0).view(2, 2, 3)
    weights = torch.tensor([[[1.0, 0, 0], [0, 0, 1]], [[0.0, 0.5, 0], [0, 0, 0]]])
    torch.testing.assert_close(pool(features, weights), torch.tensor([[2.5, 8.5], [1.0, 7.0]]))


@pytest.mark.parametrize(
    ("caption", "noun"),
    [("A frog.", "frog"), ("A slice of pizza.", "slice"), ("Some red cherries!", "red cherries"), ("42", "")],
)
def test_a_stamps_noun(caption: str, noun: str) -> None:
    assert noun_of(caption) == noun


def test_wordnet_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        "00000001 05 n 01 animal 0 000 | a being\n"
        "00000002 05 n 02 cat 0 true_cat 0 001 @ 00000001 n 0000 | feline\n"
        "00000003 05 n 01 tabby 0 002 @ 00000002 n 0000 ~ 00000001 n 0000 | striped\n"
    )
    (tmp_path / "index.noun").write_text(
        "  1 licence\ncat n 1 2 @ ~ 1 1 00000002\ntrue_cat n 1 1 @ 1 0 00000002\n"
    )
    hypernyms = Hypernyms(tmp_path)
    assert hypernyms.nearest("00000003", {"cat", "animal"}) == "cat"
    assert hypernyms.nearest("00000003", {"animal"}) == "animal"
    assert hypernyms.nearest("00000003", {"dog"}) == ""
    assert wordnet_nouns(tmp_path) == ["cat"]
    assert wordnet_nouns(tmp_path, everything=True) == ["cat", "true cat"]


def test_best_iou_of_masks() -> None:
    masks = np.zeros((2, 4, 10), bool)
    masks[0, :2], masks[1, :, :5] = True, True
    proposals = Proposals.from_masks(masks, np.ones(2), np.zeros((4, 10, 3), np.uint8), (4, 10), "sam")
    wanted = np.zeros((4, 10), bool)
    wanted[:2, :5] = True
    np.testing.assert_allclose(best_ious(proposals, [wanted, masks[1]]), [0.5, 1.0])


def test_accuracy_among_some_names() -> None:
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.1, 0.2, 0.3]])
    regions = NamedRegions(scores, np.array([0, 1, 2]))
    assert regions.accuracy() == pytest.approx(2 / 3)
    others = np.array([False, True, True])
    assert regions.accuracy(others, others) == 1.0
    assert held_out(["a", "b", "c"]).tolist() == [False, True, False]


def test_pixels_of_things_that_a_segmentation_names_right(photographs: Path) -> None:
    names = ["cat", "sofa"]

    def label(image: np.ndarray, given: Sequence[str]) -> np.ndarray:
        assert list(given) == names
        return np.zeros(image.shape[:2], int)  # a cat everywhere

    figures = measure_pixels(label, sources.read_coco(photographs, "val"), names)
    assert figures["pixels"] > 0
    assert figures["right"] == pytest.approx(0.5)  # every second photograph shows a cat


def test_named_segments_lie_in_their_photographs(tmp_path: Path) -> None:
    folder = tmp_path / "bsds500" / "train"
    folder.mkdir(parents=True)
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 20:50] = 1
    cv2.imwrite(str(folder / "113016.0.png"), labels)
    cv2.imwrite(str(folder / "113016.jpg"), np.full((40, 60, 3), 128, np.uint8))
    ((photograph, regions),) = sources.read_named_segments(tmp_path, "train")
    assert photograph.image().shape == (40, 60, 3)
    assert [(region.name, np.count_nonzero(region.mask)) for region in regions] == [
        ("grass", 1800),
        ("horse", 600),
    ]


def test_the_command_says_that_a_clip_cannot_read_regions_in_a_way(photographs: Path, capsys) -> None:
    model = bundled("weights") / "photo-mini"
    assert measure(["--root", str(photographs), "--clip", str(model), "--regions", "text-region"]) == 2
    error = capsys.readouterr().err
    assert '"text-region" needs a CLIP with a ViT' in error and error.count("\n") == 1


def test_the_command_says_that_every_photograph_is_the_least_step(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        measure(["--root", str(tmp_path), "--every", "0"])
    assert "--every is 0; it must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measured", "source", "message"),
    [
        (
            measure_coverage,
            "coco",
            "None of COCO's 1 photographs shows an object of at least 48² pixels; check",
        ),
        (measure_covering, "bsds500", r"1\.jpg has no segmentation beside it; check the folder"),
    ],
)
def test_photographs_without_anything_to_cover_are_named(measured, source, message, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.jpg"), np.zeros((60, 60, 3), np.uint8))

    def propose(image: np.ndarray) -> Proposals:
        return Proposals.from_masks(np.ones((1, 60, 60), bool), np.ones(1), image, (60, 60), "sam")

    with pytest.raises(DatasetError, match=message):
        measured(propose, [sources.Photograph(source, tmp_path / "1.jpg")])


def test_an_interruption_leaves_no_part_of_a_file_of_features(tmp_path: Path, monkeypatch) -> None:
    found = RegionFeatures(np.ones((2, 3), np.float16), np.array(["a", ""]), np.ones(2), np.array(["x", "y"]))
    save = np.savez

    def save_half(file, **arrays) -> None:
        save(file, features=arrays["features"])
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", save_half)
    with pytest.raises(KeyboardInterrupt):
        found.save(tmp_path / "coco.npz")
    assert not (tmp_path / "coco.npz").exists()
    monkeypatch.undo()
    found.save(tmp_path / "coco.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["coco.npz"]
    np.testing.assert_array_equal(RegionFeatures.load(tmp_path / "coco.npz").names, ["a", ""])
