"""Memory of weights files that are mapped: what is copied is freed, and no value is lost."""

import re
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.runtime.mapped_files import MappedFiles, place_tensors
from tests.tiny.checkpoints import save_tiny_sam

SIZE = 2**20  # float32 numbers in each of two tensors: 4 MiB

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the mappings")


def resident(path: Path) -> int:
    """Bytes of physical memory that the mappings of a file take."""
    mappings = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.M)
    sizes = [re.search(r"Rss: +(\d+) kB", text)[1] for text in mappings if str(path) in text.split("\n")[0]]
    return 1024 * sum(map(int, sizes))


@pytest.fixture(params=["torch", "safetensors"])
def mapped(request, tmp_path):
    """A file of two tensors, and the tensors mapped from it."""
    tensors = {name: torch.arange(SIZE, dtype=torch.float32) + i for i, name in enumerate("ab")}
    path = tmp_path / f"weights.{request.param}"
    if request.param == "safetensors":
        safetensors.torch.save_file(tensors, path)
        return path, safetensors.torch.load_file(path)
    torch.save(tensors, path)
    return path, torch.load(path, mmap=True)


def test_a_copied_tensor_gives_its_memory_back_and_keeps_its_values(mapped):
    path, tensors = mapped
    placed = place_tensors(tensors, lambda name, tensor: tensor.double() if name == "a" else tensor)
    assert resident(path) < SIZE  # "b" was not read, and "a" is freed
    assert placed["b"] is tensors["b"] and torch.equal(placed["a"], tensors["a"].double())
    assert resident(path) > 3 * SIZE
    MappedFiles.now().release(tensors["a"])
    assert resident(path) < SIZE
    assert torch.equal(tensors["a"], torch.arange(SIZE).float())


def test_what_was_written_or_is_in_no_file_stays(mapped):
    _, tensors = mapped
    tensors["a"][:3] = -1
    own = torch.ones(SIZE)
    files = MappedFiles.now()
    files.release(tensors["a"])
    files.release(own)
    assert tensors["a"][:4].tolist() == [-1, -1, -1, 3] and own.sum() == SIZE


def test_half_of_a_tensor_is_freed_alone(mapped):
    path, tensors = mapped
    assert tensors["a"].sum() > 0
    before = resident(path)
    MappedFiles.now().release(tensors["a"].view(2, -1)[1])
    assert SIZE < before - resident(path) < 3 * SIZE


def test_the_files_of_the_program_are_mapped(tmp_path):
    path = save_tiny_sam(tmp_path / "sam.pth")
    tensors = read_checkpoint(path).tensors
    assert str(path) in Path("/proc/self/maps").read_text() and tensors
