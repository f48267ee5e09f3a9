"""Training of a MaskFormer behind the trunk of Segment Anything, at toy size."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, timm_cnn
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, places
from ovseg_demo.proposals.sam.building import SamConfig, new_sam
from ovseg_demo.proposals.sam.encoders.timm_cnn import TimmCnnConfig
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.runtime.resources import bundled
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.photos.__main__ import main
from ovseg_demo.training.photos.bundle import CLIP_FILES, MASKFORMER_FILE, bundle
from ovseg_demo.training.photos.distilled_masks import keep_masks, photographs_to_distill, read_masks
from ovseg_demo.training.photos.maskformer import PhotoMaskFormerSettings, distil, teacher_folder, train
from ovseg_demo.training.photos.place_start import QUERIES, RINGS, start_at_anchors
from ovseg_demo.training.photos.query_samples import EMPTY, UNNAMED, QuerySamples, shapes, source_names
from ovseg_demo.training.photos.sam import half_precision
from ovseg_demo.training.photos.sources import read_coco
from ovseg_demo.training.schedule import LoopSettings

SIZE = MaskFormerConfig(
    backbone=timm_cnn("tf_efficientnet_lite0"),
    embedding_width=8,
    pixel_decoder_width=32,
    mask_width=24,
    hidden_width=64,
    feedforward_width=32,
    decoder_layers=1,
    queries=QUERIES,
    mask_embed_widths=(32,),
    class_embed_widths=(),
    knows_places=True,
)
TOY = PhotoMaskFormerSettings(
    size=SIZE,
    loop=LoopSettings(steps=2, batch_size=2, warmup_steps=1, log_every=1),
    side=96,
    masks=6,
    pixels=64,
    min_size=64,
    validation_step=20,
)
CPU = Runtime(torch.device("cpu"))


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Segment Anything with random weights whose trunk is EfficientNet-Lite0."""
    torch.manual_seed(0)
    size = SamConfig(
        encoder=TimmCnnConfig("tf_efficientnet_lite0", 128),
        prompt_dim=128,
        decoder_depth=1,
        decoder_downsampling=1,
        decoder_mlp_dim=32,
        iou_head_dim=32,
    )
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    save_atomically(half_precision(new_sam(size)), path)
    return path


@pytest.fixture(scope="module")
def teacher(photographs: Path, sam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two masks a photograph: left and right half."""
    folder = tmp_path_factory.mktemp("teacher")
    for _ in keep_masks(_Halves(), photographs_to_distill(photographs), folder):
        pass
    return folder


class _Halves:
    name = "halves"

    def __call__(self, image: np.ndarray):
        from ovseg_demo.proposals.types import Proposals

        masks = np.zeros((2, *image.shape[:2]), bool)
        masks[0, :, : image.shape[1] // 2] = True
        masks[1] = ~masks[0]
        return Proposals.from_masks(masks, np.ones(2), image, image.shape[:2], self.name)


def texts(root: Path) -> dict[str, torch.Tensor]:
    names = sorted({name for names in source_names(root) for name in names})
    torch.manual_seed(1)
    embeddings = torch.nn.functional.normalize(torch.randn(len(names), SIZE.embedding_width), dim=-1)
    return dict(zip(names, embeddings, strict=True))


def run(photographs: Path, sam: Path, teacher: Path, folder: Path, steps: int = 2) -> Path:
    settings = replace(TOY, loop=replace(TOY.loop, steps=steps))
    return train(settings, photographs, sam, texts(photographs), teacher, folder, CPU)


def test_training_writes_weights_that_propose_masks(photographs, sam, teacher, tmp_path):
    path = run(photographs, sam, teacher, tmp_path)
    network = build_maskformer(read_checkpoint(path, CheckpointKind.OVSEG).maskformer())
    assert network.config == SIZE
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    proposals = MaskFormerProposalGenerator(network, min_size=64)(image)
    assert len(proposals) > QUERIES / 2
    assert proposals.queries.class_embeddings.shape == (QUERIES, SIZE.embedding_width)


def test_the_bundle_stores_the_trunk_once(photographs, sam, teacher, tmp_path):
    trained = run(photographs, sam, teacher, tmp_path / "run")
    clip = tmp_path / "clip"
    clip.mkdir()
    for name in CLIP_FILES:
        (clip / name).write_text(name)
    folder = bundle(sam, clip, trained, tmp_path / "bundle")
    path = folder / MASKFORMER_FILE
    assert not any(name.startswith("backbone.") for name in torch.load(path)["model"])
    found, expected = (read_checkpoint(file, CheckpointKind.OVSEG).maskformer() for file in (path, trained))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert (folder / CLIP_FILES[0]).read_text() == CLIP_FILES[0]


def test_a_bundle_of_two_trunks_is_refused(photographs, sam, teacher, tmp_path):
    trained = run(photographs, sam, teacher, tmp_path / "run", steps=1)
    tensors = torch.load(sam)
    tensors["image_encoder.trunk.conv_stem.bias"] += 1
    torch.save(tensors, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"another trunk than .*other\.pth"):
        bundle(tmp_path / "other.pth", tmp_path, trained, tmp_path / "bundle")


def test_an_interrupted_training_goes_on(photographs, sam, teacher, tmp_path):
    run(photographs, sam, teacher, tmp_path / "a", steps=1)
    resumed = torch.load(run(photographs, sam, teacher, tmp_path / "a"))["model"]
    whole = torch.load(run(photographs, sam, teacher, tmp_path / "b"))["model"]
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0.05, atol=2e-3, msg=name)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of CLIPs with different weights."""
    folders = [tmp_path_factory.mktemp("clip") for _ in range(2)]
    config, weights = (bundled("weights") / "photo-mini" / name for name in CLIP_FILES)
    for number, folder in enumerate(folders):
        shutil.copy(config, folder)
        tensors = load_file(weights)
        tensors["text_projection"] *= 1 + number
        save_file(tensors, folder / weights.name)
    return folders


def test_the_command_goes_on_with_the_same_inputs_only(photographs, sam, clips, tmp_path, capsys):
    other_sam = tmp_path / "other.pth"
    tensors = torch.load(sam)
    tensors["image_encoder.trunk.conv_stem.bias"] += 1
    torch.save(tensors, other_sam)
    shutil.copytree(photographs, tmp_path / "photographs")
    given = {"--root": photographs, "--sam": sam, "--clip": clips[0], "--out": tmp_path / "out"}
    given |= {"--steps": 1, "--batch-size": 1, "--side": 64}

    def command(**changes: Path) -> int:
        options = given | {f"--{name}": value for name, value in changes.items()}
        threads = f"--threads={torch.get_num_threads()}"
        return main([threads, "maskformer", *(f"{name}={value}" for name, value in options.items())])

    assert command() == 0
    for name, other in {
        "sam": other_sam,
        "clip": clips[1],
        "root": tmp_path / "photographs",
        "stamps": tmp_path,
    }.items():
        capsys.readouterr()
        assert command(**{name: other}) == 2
        error = capsys.readouterr().err
        assert f"--{name} was " in error and error.count("\n") == 1
    (kept,) = (tmp_path / "out").glob("teacher-*")
    of = [teacher_folder(tmp_path / "out", photographs, file) for file in (sam, other_sam)]
    assert of[0] == kept != of[1], "another Segment Anything proposes other masks"


def test_samples_have_labels_first_and_the_teacher_s_other_masks(photographs, teacher):
    samples = QuerySamples(photographs, teacher, side=96, batch_size=2, masks=5)
    found = [samples[index] for index in range(24)]
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert first["image"].shape == second["image"].shape
        assert tuple(first["image"].shape[1:]) in shapes(96)
    for sample in found:
        rows = sample["names"] != EMPTY
        assert (sample["masks"].sum(dim=(1, 2)) > 0).equal(rows)
        assert ((sample["weights"] > 0) == rows).all()
        assert sample["weights"].diff().le(0).all(), "labelled masks, the teacher's, empty rows"
        assert (sample["names"][sample["weights"] < 1] < 0).all()
    assert any((sample["names"] > UNNAMED).any() for sample in found)
    assert any(((sample["weights"] > 0) & (sample["weights"] < 1)).any() for sample in found)
    assert all(torch.equal(value, found[3][key]) for key, value in samples[3].items())


def test_the_teacher_s_masks_are_computed_once(photographs, sam, tmp_path):
    count = distil(photographs, sam, tmp_path)
    assert count == len(photographs_to_distill(photographs)) == len(list(tmp_path.glob("*.npz")))
    photograph = read_coco(photographs, "train")[0]
    masks = read_masks(tmp_path, photograph)
    assert masks.dtype == bool and max(masks.shape[1:]) == 512
    assert all(path.exists() for path in keep_masks(None, photographs_to_distill(photographs), tmp_path))


def test_queries_start_as_discs_at_their_anchors():
    torch.manual_seed(0)
    network = MaskFormerNetwork(SIZE)
    start_at_anchors(network)
    logits = network.sem_seg_head.predictor.place_embed.weight[:, : places(1, 1).shape[1]]
    logits = torch.einsum("qc,bchw->qhw", logits, places(64, 64))
    inside = (logits > 0).float()
    y, x = torch.meshgrid(*[(torch.arange(64) + 0.5) / 64] * 2, indexing="ij")
    first = 0
    for side, radius in RINGS[:3]:
        middle = first + side * (side // 2) + side // 2
        disc, centre = inside[middle], (side // 2 + 0.5) / side
        assert abs((disc * y).sum() / disc.sum() - centre) < 0.02
        assert abs((disc * x).sum() / disc.sum() - centre) < 0.02
        assert disc.mean() == pytest.approx(torch.pi * radius**2, rel=0.35)
        first += side**2


def test_attention_of_a_new_network_is_at_the_anchor():
    torch.manual_seed(0)
    network = MaskFormerNetwork(SIZE)
    start_at_anchors(network)
    attention = network.sem_seg_head.predictor.transformer["decoder"].layers[0].multihead_attn
    from ovseg_demo.proposals.maskformer.network import sine_positions

    keys = sine_positions(SIZE.hidden_width, 16, 16)[None]
    queries = network.sem_seg_head.predictor.query_embed.weight[None, :64]
    weights = attention(queries, keys, keys, average_attn_weights=False)[1][0]  # (heads, 64, 256)
    rows, columns = weights[0].argmax(dim=1) // 16, weights[0].argmax(dim=1) % 16
    anchors = torch.arange(8) * 2 + 0.5
    assert ((rows.view(8, 8) - anchors[:, None]).abs() <= 1.0).all()
    assert ((columns.view(8, 8) - anchors).abs() <= 1.0).all()


def test_another_number_of_queries_is_refused():
    with pytest.raises(ValueError, match="100 queries"):
        start_at_anchors(MaskFormerNetwork(replace(SIZE, queries=7)))
