import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.errors import CheckpointError, DatasetError
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.sticker_world import NOVEL_CLASSES, render_scene
from ovseg_demo.training import label_pairs, pairs
from ovseg_demo.training.caption_nouns import find_nouns
from ovseg_demo.training.captioned_images import CaptionedImage, CaptionedScenes, CocoCaptions
from ovseg_demo.training.options import LabelPairsOptions, PairsOptions
from ovseg_demo.training.pairs import (
    EveryGenerator,
    PairMiner,
    collect_pairs,
    embed_background,
    mask_at_image_size,
)
from ovseg_demo.training.pairs_format import PAIRS_FILE, open_source, read_pairs
from tests.tiny.checkpoints import save_tiny_ovseg
from tests.training.coco_folder import make_coco_folder

SHADES = {"cat": 50, "red cat": 60, "dog": 100, "grass": 150, "sky": 200}


class Quarters:
    """Proposes the four quarters of an image."""

    def __call__(self, image: np.ndarray) -> Proposals:
        height, width = image.shape[:2]
        masks = np.zeros((4, height // 2, width // 2), dtype=bool)
        for mask, (y, x) in zip(masks, np.ndindex(2, 2), strict=True):
            mask[y * height // 4 : (y + 1) * height // 4, x * width // 4 : (x + 1) * width // 4] = True
        return Proposals.from_masks(
            masks, np.linspace(0.7, 1, 4), image[::2, ::2], (height, width), "maskformer"
        )


class NoProposals(Quarters):
    def __call__(self, image: np.ndarray) -> Proposals:
        found = super().__call__(image)
        return replace(
            found, packed_masks=found.packed_masks[:0], boxes=found.boxes[:0], scores=found.scores[:0]
        )


@dataclass
class ShadeClip:
    """Knows a name by a shade of grey; cosines fall with the distance between shades."""

    calls: int = 0

    def embed_names(self, names, templates) -> np.ndarray:
        return self.embed_shades([SHADES.get(name, 0) for name in names])

    def embed_regions(self, proposals, *, mask_prompts) -> RegionEmbeddings:
        assert not mask_prompts
        self.calls += 1
        image = proposals.working_image[..., 0]
        return RegionEmbeddings(self.embed_shades([image[mask].mean() for mask in proposals.masks]))

    @staticmethod
    def embed_shades(shades) -> np.ndarray:
        angles = np.array(shades, dtype=np.float32)[:, None] / 100
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def quarters_image(*shades: int) -> np.ndarray:
    quarters = np.array(shades, dtype=np.uint8).reshape(2, 2)
    return quarters.repeat(20, axis=0).repeat(30, axis=1)[..., None].repeat(3, axis=2)


@pytest.fixture
def miner() -> PairMiner:
    clip = ShadeClip()
    return PairMiner(Quarters(), clip, background=clip.embed_shades(range(0, 300, 50)), least_score=0.9)


def mine(miner: PairMiner, image: np.ndarray, *captions: str) -> dict[str, tuple[int, int]]:
    """Where the top left corner of each noun's mask is."""
    found = miner.mine(CaptionedImage("7", image, captions))
    corners = {pair.noun: np.argwhere(pair.decode_mask())[0] for pair in found}
    return {noun: tuple(corner.tolist()) for noun, corner in corners.items()}


def test_each_noun_gets_its_best_region(miner):
    image = quarters_image(200, 50, 100, 150)
    found = mine(miner, image, "a cat and a dog on grass", "a dog under the sky")
    assert found == {"cat": (0, 30), "dog": (20, 0), "grass": (20, 30), "sky": (0, 0)}


def test_masks_have_the_images_own_size(miner):
    pair, *_ = miner.mine(CaptionedImage("7", quarters_image(50, 200, 200, 200), ("a cat",)))
    expected = np.zeros((40, 60), dtype=bool)
    expected[:20, :30] = True
    assert np.array_equal(pair.decode_mask(), expected)
    assert pair.image == "7" and pair.score >= 0.9


def test_a_match_that_does_not_stand_out_is_left_out(miner):
    image = quarters_image(200, 200, 150, 150)
    assert mine(miner, image, "a dog on grass") == {"grass": (20, 0)}
    assert set(mine(replace(miner, least_score=None), image, "a dog on grass")) == {"dog", "grass"}


def test_scores_are_finite_where_the_background_is_a_single_region(miner):
    single = replace(miner, background=ShadeClip.embed_shades([200]))
    pair, *_ = single.mine(CaptionedImage("7", quarters_image(50, 200, 200, 200), ("a cat",)))
    assert np.isfinite(pair.score)


def test_two_nouns_do_not_share_a_mask(miner):
    caption = "a cat and a red cat"
    assert set(mine(miner, quarters_image(52, 200, 200, 200), caption)) == {"cat"}
    assert set(mine(miner, quarters_image(75, 200, 200, 200), caption)) == {"red cat"}
    keeps_all = replace(miner, least_score=None)
    assert set(mine(keeps_all, quarters_image(52, 200, 200, 200), caption)) == {"cat", "red cat"}


def test_of_two_alike_masks_the_surer_one_is_taken(miner):
    image = quarters_image(52, 200, 200, 56)  # the last quarter's mask has the best score
    assert mine(miner, image, "a cat") == {"cat": (0, 0)}
    assert mine(replace(miner, quality_weight=0.1), image, "a cat") == {"cat": (20, 30)}


@dataclass
class Halves(Quarters):
    """Proposes the upper half, the upper left three eighths, and the whole at another size."""

    def __call__(self, image: np.ndarray) -> Proposals:
        height, width = image.shape[:2]
        masks = np.zeros((3, height, width), dtype=bool)
        masks[0, : height // 2] = True
        masks[1, : height // 2, : 3 * width // 4] = True
        masks[2] = True
        return Proposals.from_masks(masks, np.full(3, 0.5), image, (height, width), "sam")


def test_masks_like_a_matched_one_are_pairs_too(miner):
    both = replace(miner, generator=EveryGenerator((Quarters(), Halves())), quality_weight=0.1)
    image = CaptionedImage("7", quarters_image(52, 200, 200, 150), ("a cat on grass",))
    assert [(pair.noun, pair.decode_mask().sum()) for pair in both.mine(image)] == [
        ("cat", 600),
        ("grass", 600),
    ]
    wide = replace(both, least_overlap=0.6)
    assert [(pair.noun, pair.decode_mask().sum()) for pair in wide.mine(image)] == [
        ("cat", 600),
        ("grass", 600),
        ("cat", 900),
    ]


def test_proposals_of_every_generator_have_the_images_size():
    found = EveryGenerator((Quarters(), Halves()))(quarters_image(0, 50, 100, 150))
    assert len(found) == 7 and found.working_size == found.image_size == (40, 60)
    assert [int(mask.sum()) for mask in found.masks] == [600] * 4 + [1200, 900, 2400]
    assert found.scores.tolist() == pytest.approx([0.7, 0.8, 0.9, 1, 0.5, 0.5, 0.5])


def test_nothing_is_asked_of_clip_without_nouns_or_proposals(miner):
    assert mine(miner, quarters_image(0, 0, 0, 0), "there it is") == {}
    assert mine(replace(miner, generator=NoProposals()), quarters_image(0, 0, 0, 0), "a cat") == {}
    assert miner.clip.calls == 0


def test_the_background_is_every_crop_of_its_images(miner):
    images = [
        CaptionedImage("0", quarters_image(0, 50, 100, 150), ()),
        CaptionedImage("1", quarters_image(9, 9, 9, 9), ()),
    ]
    background = embed_background(miner.generator, miner.clip, images)
    assert background == pytest.approx(miner.clip.embed_shades([0, 50, 100, 150, 9, 9, 9, 9]), abs=1e-6)


@dataclass(frozen=True)
class Images(CaptionedScenes):
    """Endless images of a cat on grass."""

    def read(self, first, stop):
        return (
            CaptionedImage(str(i), quarters_image(50, 150, 150, 150), ("a cat on grass",))
            for i in range(first, stop)
        )


def test_an_interrupted_run_goes_on(miner, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "_IMAGES_PER_SAVE", 4)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    collect_pairs(miner, Images(), 10, whole)
    collect_pairs(miner, Images(), 4, parts)
    with (parts / PAIRS_FILE).open("a") as file:
        file.write('{"image": "4", "noun": "half a li')
    collect_pairs(miner, Images(), 10, parts)
    assert (parts / PAIRS_FILE).read_text() == (whole / PAIRS_FILE).read_text()
    assert [pair.image for pair in read_pairs(parts)] == [str(i) for i in range(10) for _ in range(2)]
    calls = miner.clip.calls
    collect_pairs(miner, Images(), 10, parts)
    assert miner.clip.calls == calls


def test_another_source_is_refused_in_the_same_folder(miner, tmp_path):
    collect_pairs(miner, Images(), 2, tmp_path / "pairs")
    coco = CocoCaptions(make_coco_folder(tmp_path / "coco"))
    with pytest.raises(CheckpointError, match="pairs of other images"):
        collect_pairs(miner, coco, 2, tmp_path / "pairs")


@pytest.mark.parametrize(
    ("choices", "count", "message"),
    [
        (
            {"clip": "b", "sam": None},
            9,
            "other options (--clip was a, is b); give the same ones or --out another",
        ),
        (
            {"clip": "a", "sam": "c"},
            9,
            "other options (--sam was not given, is c); give the same ones or --out",
        ),
        (
            {"clip": "a", "sam": None, "seed": 1},
            9,
            "of an older version, which did not note --seed; give --out",
        ),
        ({"clip": "a", "sam": None}, 4, "holds the pairs of 9 images, not of 4; ask for as many, give --out"),
    ],
)
def test_pairs_that_would_be_others_are_refused_in_the_same_folder(miner, tmp_path, choices, count, message):
    collect_pairs(miner, Images(), 9, tmp_path, choices={"clip": "a", "sam": None})
    before = (tmp_path / PAIRS_FILE).read_text()
    with pytest.raises(CheckpointError, match=re.escape(message)):
        collect_pairs(miner, Images(), count, tmp_path, choices=choices)
    assert (tmp_path / PAIRS_FILE).read_text() == before
    collect_pairs(miner, Images(), 10, tmp_path, choices={"clip": "a", "sam": None})
    assert len(read_pairs(tmp_path)) == 20


def test_unfinished_pairs_are_not_read(miner, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "_IMAGES_PER_SAVE", 4)

    class Interrupted(Images):
        def read(self, first, stop):
            if first == 6:
                raise KeyboardInterrupt
            return super().read(first, stop)

    with pytest.raises(KeyboardInterrupt):
        collect_pairs(miner, Interrupted(), 10, tmp_path)
    message = "is unfinished, with the pairs of 4 images; finish it with the command that began it"
    with pytest.raises(DatasetError, match=message):
        read_pairs(tmp_path)
    collect_pairs(miner, Images(), 10, tmp_path)
    assert len(read_pairs(tmp_path)) == 20


def test_coco_is_read_in_the_order_of_its_ids_to_its_end(miner, tmp_path):
    images = CocoCaptions(make_coco_folder(tmp_path / "coco"), captions_per_image=2)
    entries = list(images.read(0, 50))
    assert [entry.name for entry in entries] == ["000000000000.jpg", "000000000001.jpg", "000000000002.jpg"]
    assert entries[1].captions == (
        "Two dogs sitting on the grass.",
        "There is a cat near: Two dogs sitting on the grass.",
    )
    assert entries[1].image.shape == (80, 96, 3)
    collect_pairs(replace(miner, least_score=None), images, 1000, tmp_path / "pairs")
    found = read_pairs(tmp_path / "pairs")
    assert {pair.noun for pair in found if pair.image == "000000000001.jpg"} == {"dog", "grass", "cat"}
    assert open_source(tmp_path / "pairs").load("000000000001.jpg").shape == (80, 96, 3)


def test_a_missing_captions_file_is_named(tmp_path):
    (tmp_path / "images" / "train2017").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"captions_train2017\.json"):
        list(CocoCaptions(tmp_path).read(0, 1))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "captions_train2017.json").write_text('{"images": []}')
    with pytest.raises(DatasetError, match="no file of COCO Captions"):
        list(CocoCaptions(tmp_path).read(0, 1))


def test_scenes_are_those_of_the_segmentation_split():
    scenes = list(CaptionedScenes().read(3, 6))
    assert [scene.name for scene in scenes] == ["3", "4", "5"]
    scene = render_scene(4, "segmentation", (640, 480))
    assert np.array_equal(scenes[1].image, scene.image) and scenes[1].captions == (scene.caption,)
    nouns = {noun for found in CaptionedScenes().read(0, 10) for noun in find_nouns(found.captions[0])}
    assert nouns and not nouns & set(NOVEL_CLASSES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth", "narrow")


def test_the_stage_runs_on_published_weights(weights, tmp_path):
    options = PairsOptions(
        preset="toy",
        out=tmp_path,
        maskformer=weights,
        clip=weights,
        images=3,
        device="cpu",
        precision="float32",
    )
    folder = pairs.train(options)
    found = read_pairs(folder)
    assert {pair.image for pair in found} <= {"0", "1", "2"} and len(found) >= 3
    for pair in found:
        image = open_source(folder).load(pair.image)
        assert pair.decode_mask().shape == image.shape[:2] == (480, 640)
    entry = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert entry["images"] == 3
    other = save_tiny_ovseg(tmp_path / "other.pth")
    for name, value in {"maskformer": other, "clip": other}.items():
        with pytest.raises(CheckpointError, match=rf"other options \(--{name} was sha256:\w+, is sha256:"):
            pairs.train(replace(options, **{name: value}))


def test_label_pairs_of_another_seed_are_refused_in_the_same_folder(tmp_path):
    options = LabelPairsOptions(preset="toy", out=tmp_path, scenes=1)
    label_pairs.train(options)
    with pytest.raises(CheckpointError, match="--seed was 0, is 1"):
        label_pairs.train(replace(options, seed=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_weights_that_a_worker_cannot_read_are_one_sentence(tmp_path, workers):
    options = LabelPairsOptions(
        preset="toy", out=tmp_path, scenes=1, workers=workers, sam=tmp_path / "no.pth"
    )
    with pytest.raises(CheckpointError) as raised:
        label_pairs.train(replace(options, maskformer=tmp_path / "none.pth"))
    assert str(raised.value).startswith(f'There is no weights file "{tmp_path / "none.pth"}"')


def test_masks_grow_smoothly_to_the_images_size():
    masks = torch.ones(1, 12, 16).tril()[:, :, :].numpy().astype(bool)
    image = np.zeros((12, 16, 3), dtype=np.uint8)
    proposals = Proposals.from_masks(masks, np.ones(1), image, (48, 64), "maskformer")
    grown = mask_at_image_size(proposals, 0)
    assert grown.shape == (48, 64)
    assert grown.mean() == pytest.approx(masks.mean(), abs=0.02)
