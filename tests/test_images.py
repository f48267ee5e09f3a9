"""Reading images: every format and mode becomes upright RGB, every damaged file a clear message."""

import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.images import (
    FORMATS,
    MAX_ASPECT_RATIO,
    MIN_SIDE,
    load_image,
    read_source,
    resize_longer_side,
)
from tests.image_files.tiffs import write_tiff
from tests.paths import ROOT

HEIGHT, WIDTH = 24, 40
WRITTEN = tuple(name for name in FORMATS if name != "HEIF")  # Pillow writes these
HEIC = ROOT / "tests" / "data" / "halves.heic"
RED, GREEN, WHITE = (220, 30, 40), (20, 160, 60), (255, 255, 255)


def two_halves() -> Image.Image:
    """Left half red, right half green: any flip, crop or palette slip shows."""
    original = Image.new("RGB", (WIDTH, HEIGHT), RED)
    original.paste(GREEN, (WIDTH // 2, 0, WIDTH, HEIGHT))
    return original


def encode(original: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    original.save(buffer, image_format, **options)
    return buffer.getvalue()


def assert_two_halves(image: np.ndarray, tolerance: int = 0) -> None:
    assert image.dtype == np.uint8
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image[12, 5].astype(int) - RED).max() <= tolerance
    assert np.abs(image[12, -5].astype(int) - GREEN).max() <= tolerance


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("GIF", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 6),
        ("AVIF", {"quality": 95}, 8),
    ],
)
def test_each_format_is_read(image_format, options, tolerance):
    data = encode(two_halves(), image_format, **options)
    assert_two_halves(load_image(data), tolerance)


@pytest.mark.parametrize("make_source", [lambda path: path, str, lambda path: path.read_bytes(), Image.open])
def test_each_kind_of_source_is_read(tmp_path, make_source):
    path = tmp_path / "halves.png"
    two_halves().save(path)
    assert_two_halves(load_image(make_source(path)))


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "RGBX"])
def test_each_colour_mode_becomes_rgb(mode):
    assert_two_halves(load_image(two_halves().convert(mode, palette=Image.Palette.ADAPTIVE)), tolerance=4)


@pytest.mark.parametrize(("mode", "expected"), [("1", 255), ("L", 200)])
def test_grey_becomes_three_equal_channels(mode, expected):
    image = load_image(Image.new(mode, (WIDTH, HEIGHT), expected))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image == expected).all()


def test_cmyk_jpeg_keeps_its_colours():
    data = encode(two_halves().convert("CMYK"), "JPEG", quality=95)
    assert_two_halves(load_image(data), tolerance=6)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(image_format):
    options = {"lossless": True} if image_format == "WEBP" else {}
    other = Image.new("RGB", (WIDTH, HEIGHT), "blue")
    data = encode(two_halves(), image_format, save_all=True, append_images=[other], **options)
    assert_two_halves(load_image(data))


def test_a_phone_jpeg_with_a_second_image_inside_is_read():
    data = encode(two_halves(), "MPO", save_all=True, append_images=[two_halves()])
    assert_two_halves(load_image(data), tolerance=10)


# How the upright image is stored under each EXIF orientation (EXIF 2.3, tag 274).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(image_format, orientation):
    upright = two_halves()
    upright.paste("blue", (0, 0, 10, 6))  # one marked corner distinguishes all eight
    stored = upright if STORED[orientation] is None else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 95, "subsampling": 0}
    file = encode(stored, image_format, exif=exif, **options)
    image = load_image(file)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - np.asarray(upright)).mean() < 3
    source = read_source(file)
    assert (source.width, source.height) == stored.size
    assert (source.upright_size, source.is_turned) == ((WIDTH, HEIGHT), orientation != 1)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once_to_stretched_colours(image_format, orientation):
    upright = two_halves()
    upright.paste("blue", (0, 0, 10, 6))
    stored = upright if STORED[orientation] is None else upright.transpose(STORED[orientation])
    deep = np.asarray(stored).astype(np.uint16) * 16
    if image_format == "TIFF":
        file = write_tiff(deep, photometric=2, orientation=orientation)
    else:
        exif = Image.Exif()
        exif[274] = orientation
        content = exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = struct.pack(">I", len(content)) + b"eXIf" + content
        chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
        png = cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes()
        file = png[:33] + chunk + png[33:]  # behind the header
    image = load_image(file, stretch=True)
    np.testing.assert_array_equal(image, load_image(np.asarray(upright).astype(np.uint16) * 16, stretch=True))


def test_alpha_is_laid_on_white():
    original = two_halves().convert("RGBA")
    original.paste((0, 0, 0, 0), (0, 0, 8, HEIGHT))  # fully transparent black
    original.paste((0, 0, 0, 51), (8, 0, 16, HEIGHT))  # one fifth of black
    for source in (original, encode(original, "PNG"), np.asarray(original)):
        image = load_image(source)
        assert tuple(image[0, 0]) == WHITE
        assert tuple(image[0, 10]) == (204, 204, 204)
        assert tuple(image[0, -1]) == GREEN


@pytest.mark.parametrize("mode", ["LA", "PA", "P", "L", "RGB"])
def test_every_kind_of_transparency_is_laid_on_white(mode):
    nothing, grey = {"LA": ((0, 0), (90, 255)), "RGB": ((0, 0, 0), (90, 90, 90)), "L": (0, 90)}.get(
        mode, (0, 1)
    )
    original = Image.new("P" if mode == "PA" else mode, (WIDTH, HEIGHT), grey)
    original.paste(nothing, (0, 0, 8, HEIGHT))
    if mode in ("P", "PA"):
        original.putpalette([0, 0, 0, 90, 90, 90])
    if mode == "PA":
        original.info["transparency"] = 0
        source = original.convert("PA")
    elif mode == "LA":
        source = encode(original, "PNG")
    else:
        source = encode(original, "PNG", transparency=nothing)
    image = load_image(source)
    assert tuple(image[0, 0]) == WHITE
    assert tuple(image[0, -1]) == (90, 90, 90)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(image_format):
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    stored = np.tile(ramp, (HEIGHT, 1))
    image = load_image(encode(Image.fromarray(stored), image_format))
    assert np.abs(image[0, :, 0] - ramp / 257).max() <= 0.5
    assert image[0, 0, 0] == 0
    assert image[0, -1, 0] == 255


def test_sixteen_bit_colour_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    stored = np.zeros((HEIGHT, WIDTH, 3), np.uint16)
    stored[..., 2] = ramp  # OpenCV stores BGR
    image = load_image(cv2.imencode(".png", stored)[1].tobytes())
    assert np.abs(image[0, :, 0] - ramp / 257).max() <= 1
    assert (image[..., 1:] == 0).all()


@pytest.mark.parametrize(
    ("bits", "sample_format", "photometric", "white", "expected"),
    [
        (16, 1, 1, 65535, 255),
        (16, 1, 0, 65535, 0),  # white is zero
        (16, 2, 1, 32767, 255),  # signed
        (32, 1, 1, 2**32 - 1, 255),
        (32, 2, 1, 2**31 - 1, 255),
        (32, 1, 1, 2**31, 127),
    ],
)
def test_deep_tiffs_are_scaled_by_their_own_range(bits, sample_format, photometric, white, expected):
    image = load_image(grey_tiff(white, bits, sample_format, photometric))
    assert (image == expected).all()


def grey_tiff(value: int, bits: int, sample_format: int, photometric: int) -> bytes:
    """A minimal little-endian TIFF of one grey value; Pillow writes few of these kinds itself."""
    pixels = value.to_bytes(bits // 8, "little") * (HEIGHT * WIDTH)
    tags = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: HEIGHT}
    tags |= {279: len(pixels), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    return header + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def test_floating_point_between_zero_and_one_is_scaled():
    values = np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
    for source in (values, encode(Image.fromarray(values), "TIFF")):
        image = load_image(source)
        assert image[0, 0, 0] == 0
        assert image[0, -1, 0] == 255


@pytest.mark.parametrize(("low", "high"), [(-100, 60_000), (0, 65_536)])
def test_whole_numbers_outside_sixteen_bits_are_refused_or_stretched(low, high):
    values = np.full((HEIGHT, WIDTH), low, np.int32)
    values[:, WIDTH // 2 :] = high
    image = Image.fromarray(values)
    with pytest.raises(ImageError, match=f"from {low:,} to {high:,}, outside 0 to 65,535; scale them"):
        load_image(image)
    np.testing.assert_array_equal(load_image(image, stretch=True), load_image(values, stretch=True))


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan"), float("inf")])
def test_other_floating_point_values_are_refused(value):
    values = np.full((HEIGHT, WIDTH), value, np.float32)
    with pytest.raises(ImageError, match="outside 0 to 1"):
        load_image(values)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((9, 8), 7, np.uint8), (7, 7, 7)),
        (np.full((9, 8, 1), 7, np.uint8), (7, 7, 7)),
        (np.full((9, 8, 2), 0, np.uint8), WHITE),
        (np.full((9, 8, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
        (np.full((9, 8, 4), (1, 2, 3, 255), np.uint8), (1, 2, 3)),
        (np.full((9, 8), True), WHITE),
        (np.full((9, 8, 3), (65535, 0, 257), np.uint16), (255, 0, 1)),
    ],
)
def test_arrays_of_each_shape_and_type(array, expected):
    image = load_image(array)
    assert image.shape == (9, 8, 3)
    assert image.dtype == np.uint8
    assert (image == expected).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 8, 5), np.uint8), r"shape \(9, 8, 5\)"),
        (np.zeros((2, 9, 8, 3), np.uint8), "8"),
        (np.zeros(9, np.uint8), "0×0"),
        (np.zeros((9, 8), np.int64), "int64"),
        (np.zeros((9, 8), complex), "complex"),
        (np.zeros((9, 8), object), "object"),
    ],
)
def test_other_arrays_are_refused(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


@pytest.mark.parametrize("source", [None, 3, ["a.png"]])
def test_other_types_are_refused(source):
    with pytest.raises(ImageError, match=type(source).__name__):
        load_image(source)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((0, 10), "0×10"),
        ((10, 0), "10×0"),
        ((MIN_SIDE - 1, 50), f"at least {MIN_SIDE}"),
        ((8, 8 * MAX_ASPECT_RATIO + 1), "narrow"),
    ],
)
def test_sizes_that_cannot_be_segmented_are_refused(size, message):
    with pytest.raises(ImageError, match=message):
        load_image(Image.new("RGB", size))
    with pytest.raises(ImageError, match=message):
        load_image(np.zeros((size[1], size[0], 3), np.uint8))


def test_the_pixel_limit_is_inclusive_and_configurable():
    data = encode(two_halves(), "PNG")
    assert_two_halves(load_image(data, max_pixels=HEIGHT * WIDTH))
    for source in (data, np.zeros((HEIGHT, WIDTH, 3), np.uint8)):
        with pytest.raises(ImageError, match=r"40×24.*scale it down"):
            load_image(source, max_pixels=HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("side", [8_000, 30_000])
def test_too_many_pixels_are_refused_before_decoding(side):
    """A header that promises gigabytes, and nothing behind it: decoding would say "cut off"."""
    with pytest.raises(ImageError, match="more than 50 million pixels"):
        load_image(png_header(side, side))


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.png", b""),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
        ("page.jpg", b"<!DOCTYPE html><html><body>404</body></html>"),
        ("notes.txt", b"a cat, a dog"),
        ("paper.pdf", b"%PDF-1.7\n"),
        ("script.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"),
        ("icon.ico", encode(Image.new("RGB", (16, 16)), "ICO")),
        ("old.ppm", encode(Image.new("RGB", (16, 16)), "PPM")),
    ],
)
def test_foreign_files_are_refused_with_their_base_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f'"{name}" is empty or no image')
    assert "save it as JPEG or PNG" in message
    assert tmp_path.name not in message


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(ImageError, match=r'"nowhere\.png" does not exist; check the path'):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(ImageError, match="is a folder, not an image"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="no file name"):
        load_image("x" * 5000)


@pytest.mark.parametrize("image_format", [name for name in WRITTEN if name != "BMP"])
def test_cut_off_files_are_refused(tmp_path, image_format):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = encode(Image.fromarray(noise), image_format)
    path = tmp_path / "half.img"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=re.escape('"half.img" is ')):
        load_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.data())
def test_damaged_files_give_an_image_or_a_clear_error(data):
    """Whatever bytes are changed or cut, nothing but ImageError comes out."""
    image_format = data.draw(st.sampled_from(FORMATS))
    content = bytearray(HEIC.read_bytes() if image_format == "HEIF" else encode(two_halves(), image_format))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        image = load_image(bytes(content), max_pixels=1_000_000, stretch=data.draw(st.booleans()))
    except ImageError as error:
        assert len(str(error)) > 20
    else:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3


@given(st.integers(8, 300), st.integers(8, 300), st.integers(8, 300))
def test_resizing_the_longer_side_truncates_the_other(height, width, side):
    image = resize_longer_side(np.zeros((height, width, 3), np.uint8), side)
    longer = max(height, width)
    assert image.shape == (max(1, height * side // longer), max(1, width * side // longer), 3)
    assert max(image.shape) == side


@pytest.mark.parametrize(
    ("size", "expected"),
    [((960, 1280), (960, 1280)), ((500, 333), (1280, 852)), ((1, 3000), (1, 1280)), ((7, 7), (1280, 1280))],
)
def test_the_shorter_side_is_truncated_and_never_vanishes(size, expected):
    assert resize_longer_side(np.zeros((*size, 3), np.uint8), 1280).shape == (*expected, 3)


def test_resizing_keeps_colours_and_size_where_nothing_is_to_do():
    image = np.asarray(two_halves())
    assert resize_longer_side(image, WIDTH) is image
    assert_two_halves(resize_longer_side(resize_longer_side(image, 80), WIDTH))
