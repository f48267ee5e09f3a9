import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from ovseg_demo.classification.regions import cut_region
from ovseg_demo.errors import DatasetError
from ovseg_demo.proposals.types import Proposals, tight_boxes
from ovseg_demo.sticker_world import CLASS_NAMES, render_scene
from ovseg_demo.training import pairs
from ovseg_demo.training.label_pairs import LabelMiner, NumberedScenes
from ovseg_demo.training.pair_regions import BLANK, PairRegions, widen
from ovseg_demo.training.pairs import collect_pairs
from ovseg_demo.training.pairs_format import (
    PAIRS_FILE,
    FolderImages,
    MaskNounPair,
    StickerWorldImages,
    append_pairs,
    open_source,
    read_pairs,
    write_source,
)
from ovseg_demo.training.pixels import normalise

SIZE = 32


@pytest.fixture
def folder(tmp_path):
    """Two pairs of one image file."""
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    write_source(tmp_path / "pairs", FolderImages(".."))
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 5:20, 10:40] = masks[1, 30:, 50:] = True
    masks[0, 10:12, 15:30] = False
    nouns = ("red car", "dog")
    pairs = [MaskNounPair.from_mask("a.png", *pair) for pair in zip(nouns, (0.5, 1.0), masks, strict=True)]
    append_pairs(tmp_path / "pairs", pairs)
    return tmp_path / "pairs", image, masks


@settings(deadline=None)
@given(mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)), noun=st.text(min_size=1))
def test_pairs_survive_the_disk(tmp_path_factory, mask, noun):
    folder = tmp_path_factory.mktemp("pairs")
    pair = MaskNounPair.from_mask("7", noun, 0.25, mask)
    append_pairs(folder, [pair])
    (read,) = read_pairs(folder)
    assert read == pair
    assert np.array_equal(read.decode_mask(), mask)


@pytest.mark.parametrize("source", [StickerWorldImages("segmentation", (64, 48)), FolderImages("/somewhere")])
def test_sources_survive_the_disk(tmp_path, source):
    write_source(tmp_path, source)
    opened = open_source(tmp_path)
    assert json.dumps(opened.describe()) == json.dumps(source.describe())
    assert type(opened) is type(source)


@pytest.mark.parametrize("read", [read_pairs, open_source])
def test_a_folder_without_pairs_is_named(tmp_path, read):
    with pytest.raises(DatasetError, match=f"{tmp_path.name} holds no mask-noun pairs"):
        read(tmp_path)


@pytest.mark.parametrize("keep", [True, False])
def test_regions_are_what_the_classifier_cuts(folder, keep):
    path, image, masks = folder
    regions = PairRegions(path, SIZE, seed=0, keep=keep)
    assert regions.nouns == ["dog", "red car"]
    for index, mask in enumerate(masks):
        expected, inside = cut_region(image, mask, tight_boxes(mask[None])[0], SIZE)
        expected = expected.clamp(normalised(0), normalised(255))  # bytes hold no overshoot
        region = regions.plain(index)
        error = (normalise(tensor(region.masked))[0] - expected).abs().max().item()
        assert error < 0.5 / 255 / 0.26 + 1e-4  # rounding to bytes
        assert np.array_equal(region.mask, inside[0].bool().numpy())
        assert regions.nouns[region.noun] == ("red car", "dog")[index]


def test_what_is_outside_a_varied_mask_stays_blank(folder):
    regions = PairRegions(folder[0], SIZE, seed=0, keep=True)
    for index in range(20):
        assert (regions[index].masked[~regions[index].mask] == BLANK).all()


def test_the_stream_is_endless_and_the_same_every_time(folder):
    path, *_ = folder
    first, second = (PairRegions(path, SIZE, seed=3, keep=keep) for keep in (True, False))
    for index in (0, 1, 5, 17, 5):
        assert all(map(np.array_equal, vars(first[index]).values(), vars(second[index]).values()))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 30, 50), (0.5, 50, 70), (1.0, 80, 80)])
def test_masks_that_show_one_class_can_come_more_often(folder, share, least, most):
    path, *_ = folder
    regions = PairRegions(path, SIZE, seed=0, keep=True, sure_share=share)
    dogs = sum(regions.nouns[regions[index].noun] == "dog" for index in range(80))
    assert least <= dogs <= most  # the dog's pair has the score 1, the car's 0.5


def test_without_such_masks_the_others_come(folder):
    path, *_ = folder
    first = read_pairs(path)[0]
    (path / PAIRS_FILE).unlink()
    append_pairs(path, [first])
    regions = PairRegions(path, SIZE, seed=0, keep=True, sure_share=0.5)
    assert {regions[index].noun for index in range(4)} == {0}


def test_new_pairs_get_regions_of_their_own(folder):
    path, _, masks = folder
    before = PairRegions(path, SIZE, seed=0, keep=True)[0]
    (path / "pairs.jsonl").unlink()
    append_pairs(path, [MaskNounPair.from_mask("a.png", "cat", 1.0, masks[1])])
    after = PairRegions(path, SIZE, seed=0, keep=True)[0]
    assert not np.array_equal(before.mask, after.mask)


def test_a_widened_box_stays_in_the_image():
    assert widen(np.array([0, 10, 40, 30]), (31, 100)).tolist() == [0, 8, 44, 31]


def test_label_pairs_are_the_scenes_segments():
    scene = render_scene(3, "segmentation", (320, 240))
    pairs = LabelMiner().mine((3, scene))
    for pair in pairs:
        assert pair.image == "3"
        mask = pair.decode_mask()
        assert np.all(scene.label_map[mask] == CLASS_NAMES.index(pair.noun))
    covered = sum(pair.decode_mask().sum() for pair in pairs)
    assert covered > 0.9 * scene.label_map.size


def test_workers_write_what_one_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "_IMAGES_PER_SAVE", 2)
    for workers in (0, 2):
        collect_pairs(LabelMiner(), NumberedScenes(), 5, tmp_path / str(workers), workers)
    one, two = ((tmp_path / name / PAIRS_FILE).read_text() for name in ("0", "2"))
    assert one == two and '"image": "4"' in one


def test_proposals_get_the_class_of_one_of_their_pixels():
    scene = render_scene(3, "segmentation", (320, 240))
    class_ids, areas = np.unique(scene.label_map, return_counts=True)
    masks = np.ones((400, 240, 320), bool)
    masks[0] = scene.label_map == class_ids[0]
    proposals = Proposals.from_masks(masks, np.ones(400), scene.image, (240, 320), "some")
    miner = LabelMiner(lambda: lambda _: proposals, seed=1)
    first, *whole = miner.mine((3, scene))[len(LabelMiner().mine((3, scene))) :]
    assert (first.noun, first.score) == (CLASS_NAMES[class_ids[0]], 1.0)
    for class_id, area in zip(class_ids, areas, strict=True):
        share = area / areas.sum()
        drawn = [pair for pair in whole if pair.noun == CLASS_NAMES[class_id]]
        assert len(drawn) / len(whole) == pytest.approx(share, abs=0.1)
        assert {pair.score for pair in drawn} <= {round(float(share), 4)}
    again = LabelMiner(lambda: lambda _: proposals, seed=1).mine((3, scene))
    assert [pair.noun for pair in again[-399:]] == [pair.noun for pair in whole]


@pytest.mark.parametrize("workers", [0, 2])
def test_all_regions_can_be_cut_before_training(folder, workers):
    path, *_ = folder
    PairRegions(path, SIZE, seed=0, keep=True).cut_all(workers)
    kept = PairRegions(path, SIZE, seed=0, keep=True)
    (path.parent / "a.png").unlink()
    assert [kept.nouns[kept.plain(i).noun] for i in range(2)] == ["red car", "dog"]


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image)[None]


def normalised(value: int) -> torch.Tensor:
    return normalise(tensor(np.full((1, 1, 3), value, np.uint8)))[0]
