"""The preset "coco": the published hyper-parameters (OVSeg, arXiv 2210.04150, implementation details).

MaskFormer and CLIP start from published weights. Both adaptations of CLIP have five epochs of 442,117 pairs
in batches of 4 × 32.
"""

from __future__ import annotations

from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, SwinConfig
from ovseg_demo.training.presets.types import (
    ClipFinetuning,
    ImageSizes,
    MaskFormerTraining,
    MaskPromptTuning,
    PairMining,
    Preset,
)
from ovseg_demo.training.schedule import LoopSettings

COCO = Preset(
    maskformer=MaskFormerTraining(
        size=MaskFormerConfig(
            SwinConfig(128, (2, 2, 18, 2), (4, 8, 16, 32), (12, 12, 12, 12)), embedding_width=768
        ),
        loop=LoopSettings(
            steps=120_000,
            batch_size=32,
            warmup_steps=1500,
            schedule="poly",
            betas=(0.9, 0.999),
            epsilon=1e-8,
            clip_norm=0.01,
            workers=8,
            evaluate_every=5000,
        ),
        learning_rate=6e-5,
        weight_decay=0.01,
        images=ImageSizes(320, 1280, (640, 640)),
        min_size=640,
        max_size=2560,
        mask_threshold=0.4,
        validation_images=500,
    ),
    pairs=PairMining(images=118_287),
    finetuning=ClipFinetuning(
        loop=LoopSettings(
            steps=17_270,
            batch_size=128,
            warmup_steps=100,
            clip_norm=None,
            workers=8,
            evaluate_every=2000,
        ),
        learning_rate=5e-6,
        weight_decay=0.2,
        keep_regions=False,
        held_out_pairs=2000,
        validation_scenes=0,
    ),
    mask_prompts=MaskPromptTuning(
        loop=LoopSettings(
            steps=17_270,
            batch_size=128,
            warmup_steps=100,
            clip_norm=None,
            workers=8,
            evaluate_every=2000,
        ),
        learning_rate=0.05,
        keep_regions=False,
        held_out_pairs=2000,
        validation_scenes=0,
    ),
)
