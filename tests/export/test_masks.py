"""Masks come back exactly from a zip."""

import io
import zipfile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ovseg_demo.export.files import zip_files
from ovseg_demo.export.masks import mask_files
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.export.sized import SizedSegmentation
from tests.export.samples import two_masks


@given(st.lists(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))), max_size=6))
def test_masks_come_back_from_the_zip(masks):
    data = zip_files(mask_files("photo", (("a mask", mask) for mask in masks)))
    assert data == zip_files(mask_files("photo", (("a mask", mask) for mask in masks)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for number, (name, mask) in enumerate(zip(sorted(archive.namelist()), masks, strict=True), start=1):
            assert name == f"photo/{number:04d}-a-mask.png"
            image = Image.open(io.BytesIO(archive.read(name)))
            assert image.mode == "1"
            np.testing.assert_array_equal(np.asarray(image), mask)


def test_kept_masks_have_the_size_of_the_image_and_the_name_of_their_best_class():
    segmentation = two_masks()
    named = dict(SizedSegmentation.of(segmentation, ExportOptions()).kept_masks())
    assert list(named) == ["left", "right"]
    np.testing.assert_array_equal(named["left"], segmentation.label_map == 0)
    np.testing.assert_array_equal(named["right"], segmentation.label_map == 1)
