"""What opens the page or prints help does not wait for packages that it does not use yet."""

import subprocess
import sys

import pytest

from tests.paths import ROOT

NETWORKS = {"open_clip", "timm", "torchvision", "segment_anything"}
TRAINING = {"accelerate", "scipy", "torchmetrics"}


NOT_NEEDED = {  # in the order of imports: what one leaves out, those before it leave out as well
    "ovseg_demo.cli.serve": NETWORKS | TRAINING | {"gradio", "torch", "numpy"},
    "ovseg_demo.models.downloads": NETWORKS | TRAINING | {"gradio", "torch"},
    "ovseg_demo.cli.segment": NETWORKS | TRAINING | {"gradio"},
    "ovseg_demo.ui.application": NETWORKS | TRAINING,
}


@pytest.fixture(scope="module")
def imported():
    """The packages that a process has imported after each of the modules, one after the other."""
    packages = "print(*{name.split('.')[0] for name in sys.modules})"
    program = "import sys\n" + "\n".join(f"import {module}; {packages}" for module in NOT_NEEDED)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return dict(zip(NOT_NEEDED, map(str.split, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("module", NOT_NEEDED)
def test_an_import_leaves_out(imported, module):
    assert "ovseg_demo" in imported[module]
    assert NOT_NEEDED[module] & set(imported[module]) == set()
