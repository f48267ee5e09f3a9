"""Damaged metadata never cost the pixels; colour profiles are applied; packed bombs are refused."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ovseg_demo.errors import ImageError
from ovseg_demo.images import SUFFIXES, load_image, read_source
from tests.test_images import HEIC, assert_two_halves, encode, two_halves

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png_with(*chunks: bytes) -> bytes:
    """The two halves with further chunks after the header."""
    data = encode(two_halves(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize(
    "kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"pHYs", b"sRGB", b"acTL", b"tRNS"]
)
@given(data=st.binary(max_size=40), is_sound=st.booleans())
def test_a_damaged_chunk_of_a_png_is_ignored(kind, data, is_sound):
    checksum = None if is_sound and kind != b"tRNS" else 1
    assert_two_halves(load_image(png_with(chunk(kind, data, checksum))))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_text_that_unpacks_to_much_is_never_unpacked(kind):
    bomb = zlib.compress(bytes(2**24))
    content = b"Comment\0\0" + bomb if kind == b"zTXt" else b"Comment\0\1\0\0\0" + bomb
    assert_two_halves(load_image(png_with(*[chunk(kind, content)] * 100)))


def test_a_profile_that_unpacks_to_much_is_refused():
    with pytest.raises(ImageError, match="a colour profile of more than 1 MB; save it again without one"):
        load_image(png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**24)))))


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "PNG", "TIFF"])
@given(junk=st.binary(min_size=1, max_size=200))
def test_damaged_exif_data_and_profiles_are_ignored(image_format, junk):
    options = {"lossless": True} if image_format == "WEBP" else {"quality": 95}
    if image_format == "TIFF":  # whose EXIF data are its own tags
        data = encode(two_halves(), image_format, icc_profile=junk)
    else:
        data = encode(two_halves(), image_format, exif=b"Exif\0\0" + junk, icc_profile=junk, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = load_image(data)
    assert sorted(image.shape) == [3, 24, 40]
    if image.shape == (24, 40, 3) and image[12, 5, 0] > image[12, -5, 0]:
        assert_two_halves(image, tolerance=6)


def test_exif_data_that_break_off_leave_the_image_upright(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(encode(two_halves(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"))
    assert_two_halves(load_image(path), tolerance=6)
    assert read_source(path).is_turned is False


def linear_profile() -> bytes:
    """The primaries of sRGB with linear values: gamma 1.0 instead of about 2.2."""
    profile = bytearray(SRGB)
    count = struct.unpack(">I", profile[128:132])[0]
    entries = [struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i]) for i in range(count)]
    for tag, start, size in entries:
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            profile[start : start + size] = (b"curv" + bytes(8)).ljust(size, b"\0")[:size]
        if tag == b"desc":
            profile[start : start + size] = profile[start : start + size].replace(
                b"s\0R\0G\0B", b"l\0i\0n\0e"
            )
    return bytes(profile)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_the_colours_of_a_profile_become_those_of_srgb(image_format):
    """A linear value v is encoded as 1.055 v^(1/2.4) − 0.055 (IEC 61966-2-1)."""
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(image_format, {})
    data = encode(two_halves(), image_format, icc_profile=linear_profile(), **options)
    stored = np.asarray(two_halves()) / 255
    expected = np.where(stored > 0.0031308, 1.055 * stored ** (1 / 2.4) - 0.055, 12.92 * stored) * 255
    assert np.abs(load_image(data)[12, [5, -5]] - expected[12, [5, -5]]).max() <= (5 if options else 2)
    assert np.abs(load_image(data, max_side=20)[6, [2, -2]] - expected[12, [5, -5]]).max() <= 5


def test_a_profile_of_srgb_changes_nothing_and_one_of_other_colours_is_ignored():
    assert_two_halves(load_image(encode(two_halves(), "PNG", icc_profile=SRGB)))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert_two_halves(load_image(encode(two_halves(), "PNG", icc_profile=lab)))


def test_heic_is_read():
    for source in (HEIC, HEIC.read_bytes()):
        assert_two_halves(load_image(source), tolerance=6)
    source = read_source(HEIC)
    assert (source.width, source.height, source.is_turned) == (40, 24, None)
    assert HEIC.suffix in SUFFIXES
    with pytest.raises(ImageError, match="damaged"):
        load_image(HEIC.read_bytes()[:500])


def test_an_avif_whose_brand_heic_shares_is_read_as_avif():
    data = encode(two_halves(), "AVIF", quality=95)
    assert data[4:12] == b"ftypavif"
    shared = data[:8] + b"mif1" + data[12:]
    assert_two_halves(load_image(shared), tolerance=8)


def test_the_buffer_of_the_caller_is_not_changed():
    data = png_with(chunk(b"tEXt", b"a\0b"))
    copy = bytes(data)
    load_image(data)
    assert data == copy
    assert Image.open(io.BytesIO(data)).text == {"a": "b"}
