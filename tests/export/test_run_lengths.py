"""Run lengths equal those of pycocotools."""

import numpy as np
from hypothesis import example, given, settings
from pycocotools import mask as coco

from ovseg_demo.export.run_lengths import class_rles
from tests.export.samples import label_maps


@settings(max_examples=60)
@given(label_maps)
@example((np.full((3, 4), -1, np.int32), 2))
@example((np.zeros((1, 1), np.int32), 1))
def test_run_lengths_are_those_of_pycocotools(case):
    label_map, classes = case
    rles = class_rles(label_map, classes)
    assert len(rles) == classes
    for index in {0, classes - 1, *np.unique(label_map[label_map >= 0]).tolist()}:
        mask = label_map == index
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rles[index]["counts"] == expected["counts"].decode()
        assert rles[index]["size"] == list(label_map.shape)
        np.testing.assert_array_equal(coco.decode(rles[index]).astype(bool), mask)
    assert sum(int(coco.area(rle)) for rle in rles) == np.count_nonzero(label_map >= 0)


def test_no_classes_have_no_run_lengths():
    assert class_rles(np.full((3, 4), -1, np.int32), 0) == []
