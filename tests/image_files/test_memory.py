"""How much memory one image may take, and how a reduced size is decoded."""

import subprocess
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.images import MAX_DECODE_BYTES, load_image, read_upright_size
from tests.image_files.test_metadata import chunk
from tests.paths import ROOT
from tests.test_images import encode
from tests.ui.waiting import wait_until

SIDE = 7000  # 49 million pixels, just below the limit

_CHILD = """
import resource, sys
from ovseg_demo.images import load_image
load_image(sys.argv[2], max_side=2048)  # what is imported late is there now
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = load_image(sys.argv[1], max_side=2048)
assert image.shape == (2048, 2048, 3), image.shape
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def bomb(depth: int, colour: int, samples: int) -> bytes:
    """A PNG of 49 million pixels in some ten kilobytes."""
    header = np.array([SIDE, SIDE], ">u4").tobytes() + bytes([depth, colour, 0, 0, 0])
    packer = zlib.compressobj(1)
    row = b"\0" + b"\x80" * (SIDE * samples * depth // 8)
    rows = b"".join([packer.compress(row) for _ in range(SIDE)]) + packer.flush()
    rows = chunk(b"IDAT", rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def test_a_large_file_that_is_no_image_is_not_read_as_a_whole(tmp_path):
    path = tmp_path / "video.jpg"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="no image that can be read here"):
            load_image(path)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("depth", "colour", "samples", "megabytes"),
    [(16, 0, 1, 98 + 60), (16, 6, 4, 196 + 80), (8, 3, 1, 49 + 80)],
    ids=["16-bit grey", "16-bit RGB and alpha", "palette"],
)
def test_an_image_of_the_largest_size_takes_little_more_than_its_pixels(
    tmp_path, depth, colour, samples, megabytes
):
    """Pillow keeps 2, 4 and 1 bytes a pixel of these; the rest is made in strips."""
    path, small = tmp_path / "bomb.png", tmp_path / "small.png"
    data = bomb(depth, colour, samples)
    if colour == 3:
        palette = chunk(b"PLTE", bytes(range(256)) * 3)
        data = data[:33] + palette + data[33:]
    path.write_bytes(data)
    Image.new("RGB", (64, 64)).save(small)
    child = [sys.executable, "-c", _CHILD, str(path), str(small)]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < megabytes


def test_the_budget_is_checked_before_decoding():
    """The header promises 25 million pixels, and nothing is behind it."""
    data = bomb(8, 2, 3)[:60]
    with pytest.raises(ImageError, match=r"\(7000×7000\) takes 327 MB of memory to decode, and 100 MB are"):
        load_image(data, max_bytes=100 * 2**20)


@pytest.mark.parametrize(("image_format", "allowed"), [("PNG", 16), ("WEBP", 48), ("AVIF", 40), ("TIFF", 24)])
def test_formats_that_take_more_memory_get_smaller_images(image_format, allowed):
    data = encode(Image.new("RGB", (1000, 1000)), image_format)
    assert load_image(data, max_bytes=allowed * 10**6).shape == (1000, 1000, 3)
    with pytest.raises(ImageError, match="scale it down, or save it as JPEG"):
        load_image(data, max_bytes=allowed * 10**6 // 4)


def test_a_progressive_jpeg_takes_more_memory():
    image = Image.new("RGB", (1000, 1000))
    assert load_image(encode(image, "JPEG"), max_bytes=8_000_000).shape == (1000, 1000, 3)
    with pytest.raises(ImageError, match="takes 12 MB"):
        load_image(encode(image, "JPEG", progressive=True), max_bytes=8_000_000)
    assert MAX_DECODE_BYTES >= 13 * 50_000_000


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("image_format", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "RGBA")]
)
def test_a_reduced_image_is_the_whole_image_made_smaller(tmp_path, image_format, mode, orientation):
    y, x = np.mgrid[0:403, 0:601]
    smooth = np.stack([x * 255 // 600, y * 255 // 402, 128 + 0 * x], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.img"
    path.write_bytes(encode(Image.fromarray(smooth).convert(mode), image_format, exif=exif))
    for side in (300, 100, 47):
        full, reduced = load_image(path), load_image(path, max_side=side)
        assert max(reduced.shape) == side
        expected = np.asarray(Image.fromarray(full).resize(reduced.shape[1::-1], Image.Resampling.BOX))
        assert np.abs(reduced.astype(int) - expected)[2:-2, 2:-2].max() <= 8
    assert read_upright_size(path) == full.shape[1::-1]
    np.testing.assert_array_equal(load_image(path, max_side=601), full)


@pytest.mark.parametrize("make", [lambda image: image, np.asarray])
def test_images_and_arrays_are_scaled_down_too(make):
    image = Image.new("RGB", (90, 60), (9, 8, 7))
    assert (load_image(make(image), max_side=30) == np.full((20, 30, 3), (9, 8, 7))).all()


def test_threads_that_share_a_budget_wait_until_their_part_is_free():
    budget, may_end = MemoryBudget(100), threading.Event()
    order: list[str] = []

    def decode(name, nbytes):
        with budget.take(nbytes):
            order.append(f"{name} begins")
            assert may_end.wait(60)
            order.append(f"{name} ends")

    large = threading.Thread(target=decode, args=("large", 90))
    large.start()
    wait_until(lambda: order)
    huge = threading.Thread(target=decode, args=("huge", 1000))  # more than there is: it gets all
    huge.start()
    with budget.take(10):
        order.append("small")
    may_end.set()
    for thread in (large, huge):
        thread.join(60)
    assert order == ["large begins", "small", "large ends", "huge begins", "huge ends"]


def test_an_image_takes_its_part_of_the_budget_and_gives_it_back(tmp_path):
    class Noting(MemoryBudget):
        def take(self, nbytes):
            taken.append(nbytes)
            return super().take(nbytes)

    taken: list[int] = []
    budget = Noting(10_000)
    path = tmp_path / "image.png"
    path.write_bytes(encode(Image.new("RGB", (100, 50)), "PNG"))
    load_image(path, budget=budget)
    assert taken == [100 * 50 * (4 + 3)]
    with pytest.raises(ImageError):
        load_image(path.read_bytes()[:-40], budget=budget)
    with budget.take(10_000):
        pass
