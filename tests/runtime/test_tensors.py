"""Shapes that are read off a checkpoint, and the check that its tensors fit a network."""

import pytest
import torch
from torch import nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.tensors import Shapes, check_names_and_shapes

TENSORS = {f"head.layers.{i}.{part}.weight": torch.zeros(i + 1, 2) for i in (0, 2, 10) for part in "ab"}


def test_shapes_and_counts():
    shapes = Shapes(TENSORS, "a network")
    assert shapes["head.layers.2.a.weight"] == (3, 2)
    assert shapes.indexes("head.layers") == [0, 2, 10]
    assert shapes.count("head.layers") == 3
    assert shapes.indexes("head") == []


def test_a_missing_name_is_named_in_full():
    shapes = Shapes(TENSORS, "a network", hint="Use the published file.", prefix="head.")
    assert shapes["layers.0.a.weight"] == (1, 2)
    message = r'^These are not the weights of a network: "head\.{}" is missing\. Use the published file\.$'
    with pytest.raises(CheckpointError, match=message.format("bias")):
        shapes["bias"]
    with pytest.raises(CheckpointError, match=message.format("blocks")):
        shapes.count("blocks")


def test_every_kind_of_fault_is_in_one_message():
    with torch.device("meta"):
        expected = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)).state_dict()
    check_names_and_shapes(
        expected, {name: torch.zeros(value.shape) for name, value in expected.items()}, "it"
    )
    given = {"0.weight": torch.zeros(3, 3), "1.weight": torch.zeros(4), "2.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError) as caught:
        check_names_and_shapes(expected, given, "a small network")
    assert str(caught.value) == (
        'These tensors do not make up a small network: "0.bias" (and 1 more) is missing; "2.weight" is '
        'unexpected; "0.weight" (and 1 more) has the shape (3, 3) where the others ask for (3, 2). '
        "Check that the file is complete and of one model."
    )
