"""Readers of labelled photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovseg_demo.errors import DatasetError
from ovseg_demo.training.photos import sources


def test_no_photograph_of_the_validation_split_is_trained_on(photographs: Path) -> None:
    for read in (sources.read_coco, sources.read_bsds500, sources.read_camvid):
        train, validation = ({p.path for p in read(photographs, split)} for split in ("train", "val"))
        assert train and validation and not train & validation


def test_the_last_forty_of_coco128_by_name_are_for_validation(photographs: Path) -> None:
    validation = sources.read_coco(photographs, "val")
    assert [p.path.stem for p in validation] == [f"{number:012}" for number in range(3, 43)]
    assert len(sources.read_coco(photographs, "train")) == 4


def test_a_coco_polygon_becomes_a_mask_with_its_name(photographs: Path) -> None:
    (region,) = sources.read_coco(photographs, "val")[0].regions()
    assert region.name == "sofa"
    assert abs(np.count_nonzero(region.mask) - 64 * 64) < 3 * 64
    assert region.mask[48, 48] and not region.mask[4, 4]


def test_captions_go_with_their_photograph(photographs: Path) -> None:
    captions = [p.captions for p in sources.read_coco(photographs, "train")]
    assert captions.count(("A cat on a sofa.",)) == 1


def test_regions_of_label_maps_have_the_labels_names(photographs: Path) -> None:
    street = sources.read_camvid(photographs, "train")[0].regions()
    assert [region.name for region in street] == list(sources.CAMVID_NAMES)  # 11 is unlabelled
    assert [region.name for region in sources.read_ccp(photographs)[0].regions()] == ["hat", "coat"]


def test_bsds500_has_a_partition_a_person(photographs: Path) -> None:
    partitions = sources.read_bsds500(photographs, "val")[0].partitions()
    assert [len(np.unique(partition)) for partition in partitions] == [2, 3]


def test_a_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="bsds500"):
        sources.read_bsds500(tmp_path, "train")
