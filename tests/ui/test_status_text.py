"""What the page says."""

import pytest

from ovseg_demo.models.weights_files import format_size
from ovseg_demo.progress import EMBEDDING_REGIONS, ENCODING_NAMES, PROPOSING, WAITING
from ovseg_demo.ui.background_task import Progress
from ovseg_demo.ui.language.texts import load_texts
from ovseg_demo.ui.status_text import format_seconds, progress_fraction, progress_label


@pytest.mark.parametrize(
    ("progress", "generator", "label", "fraction"),
    [
        (Progress(PROPOSING, 512, 1024), "sam", "Proposing masks 512 / 1,024 points", 0.5),
        (Progress(PROPOSING, 1, 4), "maskformer", "Proposing masks 1 / 4", 0.25),
        (Progress(PROPOSING, 0, 1), "detectron2", "Proposing masks", 0),
        (Progress(EMBEDDING_REGIONS, 64, 118), "sam", "Embedding regions 64 / 118", 64 / 118),
        (Progress(ENCODING_NAMES, 0, 2), "sam", "Encoding 2 class names", 0),
        (Progress(ENCODING_NAMES, 0, 1), "sam", "Encoding 1 class name", 0),
        (Progress(WAITING, 0, 1), "sam", "Waiting for your turn", -1),
        (Progress("Downloading x.pth", 5_000_000, 20_000_000), "sam", "Downloading x.pth 5 / 20 MB", 0.25),
        (Progress("Downloading x.pth", 5_000_000, 0), "sam", "Downloading x.pth", -1),
        (Progress("Checking x.pth", 1_000_000, 4_000_000), "sam", "Checking x.pth 1 / 4 MB", 0.25),
        (Progress("Waiting for x.pth", 0, 1), "sam", "Waiting for x.pth", 0),
        (Progress("A stage of another generator", 1, 4), "own", "A stage of another generator 1 / 4", 0.25),
    ],
)
def test_progress_reads_well(progress, generator, label, fraction):
    assert progress_label(progress, generator, load_texts()) == label
    assert progress_fraction(progress) == fraction


def test_times_and_sizes_have_two_digits_or_so():
    assert [format_seconds(value) for value in (0.0123, 3.14, 75)] == ["12 ms", "3.1 s", "1.2 min"]
    assert [format_size(value) for value in (0, 351e6, 2.5e9)] == ["size unknown", "351 MB", "2.5 GB"]
