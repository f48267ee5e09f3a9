"""Sizes and hyper-parameters of all stages, one file for each preset.

``sticker-world`` trains the bundled model on a small machine, ``coco`` holds the published hyper-parameters,
and ``toy`` runs in seconds for the tests.
"""

from __future__ import annotations

from typing import Any

from ovseg_demo.errors import ModelError
from ovseg_demo.training.presets.coco import COCO
from ovseg_demo.training.presets.sticker_world import STICKER_WORLD
from ovseg_demo.training.presets.toy import TOY
from ovseg_demo.training.presets.types import Preset

PRESETS = {"toy": TOY, "coco": COCO, "sticker-world": STICKER_WORLD}


def find_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in PRESETS:
        raise ModelError(f'There is no training preset "{name}"; choose one of {", ".join(PRESETS)}.')
    return PRESETS[name]


def find_settings(name: str, stage: str) -> Any:
    """Return the settings of one stage: the field ``stage`` of the preset ``name``.

    Raises:
        ModelError: there is no such preset, or it takes published weights for that stage.
    """
    settings = getattr(find_preset(name), stage)
    if settings is None:
        raise ModelError(
            f'The preset "{name}" has no stage "{stage}": it starts from published weights (--init).'
        )
    return settings
