"""The preset "sticker-world", which trains that bundled model from random weights on a small machine."""

from __future__ import annotations

from types import MappingProxyType

from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, ResNetConfig
from ovseg_demo.proposals.sam.building import SamConfig
from ovseg_demo.proposals.sam.encoders.vit import VitConfig
from ovseg_demo.training.presets.types import (
    ClipFinetuning,
    ClipPretraining,
    ClipSize,
    ImageSizes,
    MaskFormerTraining,
    MaskPromptTuning,
    PairMining,
    Preset,
    SamTraining,
)
from ovseg_demo.training.schedule import LoopSettings

STICKER_WORLD = Preset(
    clip=ClipPretraining(
        size=ClipSize(),
        loop=LoopSettings(steps=6000, batch_size=256, warmup_steps=100, workers=2, evaluate_every=500),
        learning_rate=1e-3,
        muon_learning_rate=3e-3,
        weight_decay=0.05,
        images=200_000,
    ),
    maskformer=MaskFormerTraining(
        size=MaskFormerConfig(
            ResNetConfig((16, 16, 32), (2, 2, 3, 2), (32, 64, 128, 128), (64, 128, 256, 512)),
            embedding_width=128,
            pixel_decoder_width=64,
            mask_width=64,
            hidden_width=128,
            feedforward_width=512,
            queries=40,
            mask_embed_widths=(128, 128),
            class_embed_widths=(128,),
        ),
        loop=LoopSettings(
            steps=20_000, batch_size=8, warmup_steps=100, schedule="poly", workers=1, evaluate_every=2000
        ),
        learning_rate=7e-4,
        weight_decay=0.05,
        images=ImageSizes(256, 480, (448, 352)),
        min_size=384,
        max_size=1536,
        muon_learning_rate=1.5e-3,
        mask_threshold=0.4,
        mask_pixels=1600,
        pixel_weight=4.0,
        pair_weight=2.0,
        first_logit_scale=10.0,
    ),
    pairs=PairMining(
        images=6000,
        quality_weight=0.6,
        least_score=2.0,
        least_overlap=0.5,
        sam_thresholds=MappingProxyType(
            {"points_per_side": 10, "pred_iou_thresh": 0.4, "stability_score_thresh": 0.6}
        ),
    ),
    finetuning=ClipFinetuning(
        loop=LoopSettings(steps=1500, batch_size=256, warmup_steps=30, workers=1, evaluate_every=500),
        learning_rate=4e-4,
        weight_decay=0.05,
        unmasked_share=0.25,
        kept_share=0.15,
        among_all_nouns=True,
    ),
    mask_prompts=MaskPromptTuning(
        loop=LoopSettings(steps=60, batch_size=256, warmup_steps=5, workers=1, evaluate_every=60),
        learning_rate=0.01,
        depth=1,
        sure_share=0.5,
        among_all_nouns=True,
    ),
    sam=SamTraining(
        size=SamConfig(
            encoder=VitConfig(
                image_size=256,
                patch_size=8,
                embed_dim=192,
                depth=6,
                num_heads=3,
                mlp_dim=768,
                window_size=8,
                global_attention=(2, 5),
            ),
            prompt_dim=128,
            decoder_mlp_dim=512,
            iou_head_dim=128,
        ),
        loop=LoopSettings(
            steps=12_000, batch_size=8, warmup_steps=100, schedule="poly", workers=1, evaluate_every=1000
        ),
        learning_rate=1e-3,
        muon_learning_rate=2e-3,
        weight_decay=0.02,
        prompts=12,
        cells=128,
        parts=2,
        part_cells=16,
        whole_from=0.8,
    ),
)
