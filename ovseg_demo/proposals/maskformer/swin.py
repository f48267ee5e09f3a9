"""The Swin backbone of MaskFormer, built from timm's modules under the published tensor names."""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers import PatchEmbed, trunc_normal_
from timm.models.swin_transformer import (
    PatchMerging,
    SwinTransformerBlock,
    get_relative_position_index,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from ovseg_demo.proposals.maskformer.config import SwinConfig


class SwinBlock(SwinTransformerBlock):
    """A Swin block for maps of any size: it pads the map to whole windows, then rolls the padded map.

    timm's block rolls before it pads, which gives different windows if padding is needed.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, shift_size: int, mlp_ratio: float):
        super().__init__(
            dim,
            input_resolution=(window_size, window_size),  # no effect, as window and shift keep their sizes
            num_heads=num_heads,
            window_size=window_size,
            shift_size=shift_size,
            always_partition=True,
            dynamic_mask=True,
            mlp_ratio=mlp_ratio,
        )

    def _attn(self, x: Tensor) -> Tensor:
        """Return the windowed self-attention of a normalised map (B, H, W, C) of any height and width."""
        height, width = x.shape[1:3]
        window_height, window_width = self.window_size
        x = F.pad(x, (0, 0, 0, -width % window_width, 0, -height % window_height))
        padded_height, padded_width, channels = x.shape[1:]
        if any(self.shift_size):
            x = x.roll([-shift for shift in self.shift_size], dims=(1, 2))
        # Separates pixels that are neighbours only because of the roll. Padding is not masked.
        mask = self.get_attn_mask(x)
        windows = window_partition(x, self.window_size).flatten(1, 2)  # (B * windows, tokens, C)
        windows = self.attn(windows, mask=mask).view(-1, window_height, window_width, channels)
        x = window_reverse(windows, self.window_size, padded_height, padded_width)
        if any(self.shift_size):
            x = x.roll(self.shift_size, dims=(1, 2))
        return x[:, :height, :width]


class SwinStage(nn.Module):
    """The blocks of one resolution, and the downsampling to the resolution of the next stage."""

    def __init__(self, config: SwinConfig, stage: int):
        super().__init__()
        dim, window_size = config.channels[stage], config.window_sizes[stage]
        self.blocks = nn.Sequential(
            *(
                SwinBlock(
                    dim,
                    num_heads=config.num_heads[stage],
                    window_size=window_size,
                    shift_size=window_size // 2 if block % 2 else 0,
                    mlp_ratio=config.mlp_ratio,
                )
                for block in range(config.depths[stage])
            )
        )
        is_last = stage + 1 == len(config.depths)
        self.downsample = nn.Identity() if is_last else PatchMerging(dim)


class Swin(nn.Module):
    """Swin Transformer (arXiv 2103.14030) with a separate layer norm for the output of each stage."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        self.layers = nn.ModuleList(SwinStage(config, stage) for stage in range(len(config.depths)))
        for stage, channels in enumerate(config.channels):
            self.add_module(f"norm{stage}", nn.LayerNorm(channels))
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return res2 … res5 of normalised pixels (B, 3, H, W): (B, C, h, w) at strides 4, 8, 16 and 32."""
        x = self.patch_embed(pixels)  # (B, h, w, C)
        features = []
        for stage, layer in enumerate(self.layers):
            x = layer.blocks(x)
            features.append(self.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous())
            x = layer.downsample(x)
        return tuple(features)

    def derive_buffers(self) -> None:
        """Set the buffers that follow from the window sizes; needed after a build on the meta device."""
        for layer in self.layers:
            for block in layer.blocks:
                attention = block.attn
                attention.relative_position_index = get_relative_position_index(*attention.window_size)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
