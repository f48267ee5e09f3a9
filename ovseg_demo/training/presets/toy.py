"""The preset "toy", which the tests train in seconds."""

from __future__ import annotations

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

TOY = Preset(
    clip=ClipPretraining(
        size=ClipSize(32, 8, 64, 2, 64, 2, 1024, 77, 32),
        loop=LoopSettings(steps=8, batch_size=16, warmup_steps=2, log_every=2),
        learning_rate=1e-3,
        weight_decay=0.05,
        images=64,
        validation_scenes=2,
        validation_crops=20,
        crops_per_unseen_pair=0,
    ),
    maskformer=MaskFormerTraining(
        size=MaskFormerConfig(
            ResNetConfig((8, 8, 16), (1, 1, 1, 1), (8, 8, 16, 16), (32, 32, 64, 64)),
            embedding_width=32,
            pixel_decoder_width=32,
            mask_width=32,
            hidden_width=32,
            feedforward_width=64,
            decoder_layers=2,
            queries=12,
            mask_embed_widths=(32, 32),
            class_embed_widths=(32,),
        ),
        loop=LoopSettings(steps=4, batch_size=2, warmup_steps=1, log_every=2),
        learning_rate=1e-3,
        weight_decay=0.05,
        images=ImageSizes(96, 128, (128, 96)),
        min_size=96,
        max_size=384,
        pixel_weight=1.0,
        pair_weight=1.0,
        first_logit_scale=20.0,
        validation_images=2,
    ),
    pairs=PairMining(images=12, background_images=3),
    finetuning=ClipFinetuning(
        loop=LoopSettings(steps=6, batch_size=16, warmup_steps=1, log_every=2),
        learning_rate=1e-4,
        weight_decay=0.05,
        unmasked_share=0.25,
        kept_share=0.25,
        held_out_pairs=8,
        validation_scenes=2,
        validation_crops=20,
        label_scenes=6,
    ),
    mask_prompts=MaskPromptTuning(
        loop=LoopSettings(steps=6, batch_size=16, warmup_steps=1, log_every=2),
        learning_rate=0.01,
        depth=2,
        held_out_pairs=8,
        validation_scenes=2,
        validation_crops=20,
    ),
    sam=SamTraining(
        size=SamConfig(
            encoder=VitConfig(
                image_size=64,
                patch_size=8,
                embed_dim=64,
                depth=2,
                num_heads=1,
                mlp_dim=256,
                window_size=4,
                global_attention=(1,),
            ),
            prompt_dim=32,
            decoder_mlp_dim=64,
            iou_head_dim=32,
        ),
        loop=LoopSettings(steps=4, batch_size=2, warmup_steps=1, log_every=2),
        learning_rate=1e-3,
        muon_learning_rate=2e-3,
        weight_decay=0.02,
        prompts=4,
        cells=8,
        parts=2,
        part_cells=4,
        whole_from=0.5,
        validation_scenes=2,
    ),
)
