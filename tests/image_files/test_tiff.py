"""Each kind of TIFF is read right, or refused with the reason; no band is dropped silently."""

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.images import load_image
from tests.image_files.tiffs import write_tiff
from tests.test_images import encode, two_halves

HALVES = np.asarray(two_halves())
GREY = HALVES[:, :, 0]
OPAQUE = np.full_like(HALVES[:, :, :1], 255)
RGB, BLACK_IS_ZERO = 2, 1


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    grey = np.rint((values.astype(float) - low) * 255 / (high - low))
    return grey if grey.ndim == 3 else np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("array", "extra"), [(HALVES, ()), (np.dstack([HALVES, OPAQUE]), (2,)), (np.dstack([HALVES, OPAQUE]), ())]
)
def test_colours_are_read_however_their_bands_are_stored(array, extra, planar):
    np.testing.assert_array_equal(
        load_image(write_tiff(array, photometric=RGB, extra=extra, planar=planar)), HALVES
    )


def test_colours_of_sixteen_bits_are_read_or_refused_by_how_they_are_stored():
    deep = HALVES.astype(np.uint16) * 257
    np.testing.assert_array_equal(load_image(write_tiff(deep, photometric=RGB)), HALVES)
    with pytest.raises(ImageError, match=r"16-bit bands are stored separately.*save it as an RGB image"):
        load_image(write_tiff(deep, photometric=RGB, planar=True))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    ("bands", "photometric", "extra", "count"),
    [
        (5, RGB, (0, 0), "five"),
        (5, RGB, (2, 0), "five"),
        (4, RGB, (0,), "four"),
        (5, BLACK_IS_ZERO, (0, 0, 0, 0), "five"),
        (12, RGB, (0,) * 9, "12"),
    ],
)
def test_bands_that_are_no_colours_are_counted(bands, photometric, extra, count, planar):
    array = np.dstack([HALVES] * 4)[:, :, :bands]
    with pytest.raises(ImageError, match=f"has {count} bands.*save those three as an RGB image"):
        load_image(write_tiff(array, photometric=photometric, extra=extra, planar=planar))


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        ((HALVES / 255).astype(np.float32), "three bands of 32-bit floating-point"),
        ((GREY / 255).astype(np.float64), "one band of 64-bit floating-point"),
        ((GREY / 255).astype(np.float16), "one band of 16-bit floating-point"),
        (HALVES.astype(np.uint32), "three bands of 32-bit unsigned"),
        (GREY.astype(np.int64), "one band of 64-bit signed"),
        ((GREY // 2).astype(np.int8), "one band of 8-bit signed"),
        (GREY.astype(np.complex64), "one band of 64-bit complex"),
        (np.dstack([GREY, GREY]), "two bands of 8-bit unsigned"),
    ],
)
def test_other_pixels_are_refused_by_their_kind(array, kind):
    photometric = RGB if array.shape[2:] == (3,) else BLACK_IS_ZERO
    extra = (0,) if array.shape[2:] == (2,) else ()
    with pytest.raises(ImageError, match=f"{kind} values, which is not read here; save it as an RGB"):
        load_image(write_tiff(array, photometric=photometric, extra=extra))


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (GREY.astype(np.uint16) * 16, "reach 3,520 of 65,535, as those of 12-bit data"),
        (GREY.astype(np.int32), "reach 220 of 2,147,483,647, as those of 8-bit data"),
        (HALVES.astype(np.uint16) * 16, "as those of 12-bit data"),
    ],
)
def test_few_bits_in_a_deep_format_are_not_black_but_named_and_can_be_stretched(array, values):
    photometric = RGB if array.ndim == 3 else BLACK_IS_ZERO
    for source in (
        write_tiff(array, photometric=photometric),
        *([array] if array.dtype == np.uint16 else []),
    ):
        with pytest.raises(ImageError, match=f"is dark: .*{values}.*--stretch"):
            load_image(source)
        np.testing.assert_allclose(load_image(source, stretch=True), stretched(array), atol=1)


def test_a_dark_png_with_colours_of_sixteen_bits_is_stretched_too():
    import cv2

    data = cv2.imencode(".png", (HALVES[:, :, ::-1].astype(np.uint16) * 16))[1].tobytes()
    with pytest.raises(ImageError, match="is dark"):
        load_image(data)
    np.testing.assert_allclose(load_image(data, stretch=True), stretched(HALVES), atol=1)


def test_stretching_leaves_eight_bits_as_they_are_and_a_constant_black():
    np.testing.assert_array_equal(load_image(encode(two_halves(), "PNG"), stretch=True), HALVES)
    assert (load_image(np.full((9, 9), 700, np.uint16), stretch=True) == 0).all()
    assert (load_image(np.zeros((9, 9), np.uint16)) == 0).all(), "black is no data of few bits"


@pytest.mark.parametrize("values", [GREY.astype(np.int16) - 100, GREY.astype(np.float32) * 7 - 100])
def test_values_below_zero_are_refused_or_clipped_and_can_be_stretched(values):
    data = write_tiff(values, photometric=BLACK_IS_ZERO)
    np.testing.assert_allclose(load_image(data, stretch=True), stretched(values), atol=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_numbers_cannot_be_stretched(value):
    values = np.full((9, 9), 0.5, np.float32)
    values[4, 4] = value
    for source in (values, write_tiff(values, photometric=BLACK_IS_ZERO), Image.fromarray(values)):
        with pytest.raises(ImageError, match="infinite or no numbers"):
            load_image(source, stretch=True)
        with pytest.raises(ImageError, match="outside 0 to 1"):
            load_image(source)
