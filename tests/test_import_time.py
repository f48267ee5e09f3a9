"""What opens the page or prints help does not wait for packages that it does not use yet."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

NETWORKS = {"open_clip", "timm", "torchvision", "segment_anything"}
TRAINING = {"accelerate", "scipy", "torchmetrics"}


@pytest.mark.parametrize(
    ("module", "not_needed"),
    [
        ("ovseg_demo.ui.application", NETWORKS | TRAINING),
        ("ovseg_demo.cli.segment", NETWORKS | TRAINING | {"gradio"}),
        ("ovseg_demo.models.downloads", NETWORKS | TRAINING | {"gradio", "torch"}),
        ("ovseg_demo.cli.serve", NETWORKS | TRAINING | {"gradio", "torch", "numpy"}),
    ],
)
def test_an_import_leaves_out(module, not_needed):
    program = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not_needed & set(done.stdout.split()) == set()
