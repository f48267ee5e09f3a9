"""Weights files that take tensors from a file beside them."""

from pathlib import Path

import pytest
import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.models.shared_tensors import SharedTensors, with_shared
from ovseg_demo.runtime.resources import bundled
from ovseg_demo.training.bundle import share_equal_parts

SAM = {
    "image_encoder.trunk.stem.weight": torch.randn(2, 3),
    "image_encoder.neck.weight": torch.randn(2, 2),
    "prompt_encoder.no_mask_embed.weight": torch.randn(1, 8),
    "mask_decoder.iou_token.weight": torch.randn(1, 8),
}
MASKFORMER = {
    "backbone.trunk.stem.weight": SAM["image_encoder.trunk.stem.weight"],
    "sem_seg_head.predictor.query_embed.weight": torch.randn(5, 4),
    "clip_adapter.non_object_embedding": torch.randn(1, 8),
}
TRUNK = SharedTensors("sam.pth", "image_encoder.trunk.", "backbone.trunk.")


def save(folder: Path, content: object) -> Path:
    torch.save(content, folder / "maskformer.pth")
    torch.save({"model": SAM}, folder / "sam.pth")
    return folder / "maskformer.pth"


def test_a_file_is_completed_from_the_one_that_it_names(tmp_path):
    path = save(tmp_path, with_shared(MASKFORMER, [TRUNK]))
    assert list(torch.load(path)["model"]) == list(MASKFORMER)[1:], "the trunk is stored once"
    checkpoint = read_checkpoint(path, CheckpointKind.OVSEG)
    assert checkpoint.tensors.keys() == MASKFORMER.keys()
    assert all(torch.equal(tensor, MASKFORMER[name]) for name, tensor in checkpoint.tensors.items())


def test_the_file_s_own_tensors_come_first(tmp_path):
    content = with_shared(MASKFORMER, [TRUNK])
    content["model"]["backbone.trunk.stem.weight"] = torch.zeros(2, 3)
    tensors = read_checkpoint(save(tmp_path, content)).tensors
    assert not tensors["backbone.trunk.stem.weight"].any()


def test_a_missing_neighbour_is_named(tmp_path):
    path = save(tmp_path, with_shared(MASKFORMER, [TRUNK]))
    (tmp_path / "sam.pth").unlink()
    with pytest.raises(CheckpointError, match=r'needs ".*sam\.pth", which does not exist; put both files'):
        read_checkpoint(path)


def test_a_neighbour_without_the_tensors_is_named(tmp_path):
    other = SharedTensors("sam.pth", "image_encoder.stages.", "backbone.")
    with pytest.raises(CheckpointError, match=r'tensors "image_encoder\.stages\.…" of ".*sam\.pth"'):
        read_checkpoint(save(tmp_path, with_shared(MASKFORMER, [other])))


@pytest.mark.parametrize("file", ["../sam.pth", "/etc/sam.pth", "..", ""])
def test_files_in_other_folders_are_not_read(tmp_path, file):
    content = with_shared(MASKFORMER, [SharedTensors(file, "image_encoder.trunk.", "backbone.trunk.")])
    with pytest.raises(CheckpointError, match="only a file in its own folder is read"):
        read_checkpoint(save(tmp_path, content))


@pytest.mark.parametrize(
    "entry", ["sam.pth", {"file": "sam.pth"}, {"file": 1, "prefix": "", "as_prefix": ""}]
)
def test_damaged_entries_are_refused(tmp_path, entry):
    content = with_shared(MASKFORMER, [TRUNK]) | {"shared": [entry]}
    with pytest.raises(CheckpointError, match="damaged list of shared tensors"):
        read_checkpoint(save(tmp_path, content))


def test_the_bundle_stores_equal_parts_of_two_clips_once(tmp_path):
    adapted = {"visual.weight": torch.ones(2), "visual.other": torch.ones(2), "transformer.a": torch.ones(3)}
    unadapted = adapted | {"visual.weight": torch.zeros(2)}
    content = share_equal_parts(unadapted, adapted, "ovseg.pth")
    assert content["model"].keys() == {"visual.weight", "visual.other"}
    assert content["shared"] == [
        {"file": "ovseg.pth", "prefix": "clip_adapter.clip_model.transformer", "as_prefix": "transformer"}
    ]


def test_the_bundled_weights_stay_small():
    folders = [bundled("weights") / name for name in ("photo-mini", "sticker-world")]
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= 60_000_000
