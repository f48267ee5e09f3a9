"""A CLIP small enough for tests, in the tensors that a checkpoint holds."""

import torch
from torch import Tensor


def tiny_clip_tensors(
    width: int = 128,
    layers: int = 4,
    patch: int = 8,
    grid: int = 4,
    text_width: int = 64,
    text_layers: int = 3,
    embedding_width: int = 32,
    vocabulary_size: int = 1000,
    context_length: int = 77,
    mask_prompt_depth: int = 3,
    prompts: tuple[int, int] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Seeded random weights under OpenAI's key names; none stay at zero or one, so that every term is tested.

    Args:
        width: of the image tower; a multiple of 64, as ``text_width`` is.
        layers: blocks of the image tower.
        patch: side of a patch, in pixels.
        grid: patches a side.
        text_width: of the text tower.
        text_layers: blocks of the text tower.
        embedding_width: of the features.
        vocabulary_size: tokens, 514 (bytes alone) to 49,408 (OpenAI's).
        context_length: positions of the text tower.
        mask_prompt_depth: D; 0 leaves the mask prompts out.
        prompts: lengths of SimSeg's learned prefix and suffix; ``None`` leaves them out.
        seed: other seeds give other weights.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.randn(shape, generator=generator) * std + mean

    def norm(name: str, channels: int) -> dict[str, Tensor]:
        return {
            f"{name}.weight": normal(channels, std=0.1, mean=1),
            f"{name}.bias": normal(channels, std=0.1),
        }

    def linear(weight: str, bias: str, rows: int, columns: int) -> dict[str, Tensor]:
        return {weight: normal(rows, columns, std=columns**-0.5), bias: normal(rows, std=0.1)}

    def block(name: str, channels: int) -> dict[str, Tensor]:
        return {
            **norm(f"{name}.ln_1", channels),
            **linear(f"{name}.attn.in_proj_weight", f"{name}.attn.in_proj_bias", 3 * channels, channels),
            **linear(f"{name}.attn.out_proj.weight", f"{name}.attn.out_proj.bias", channels, channels),
            **norm(f"{name}.ln_2", channels),
            **linear(f"{name}.mlp.c_fc.weight", f"{name}.mlp.c_fc.bias", 4 * channels, channels),
            **linear(f"{name}.mlp.c_proj.weight", f"{name}.mlp.c_proj.bias", channels, 4 * channels),
        }

    tensors = {
        "visual.class_embedding": normal(width),
        "visual.positional_embedding": normal(grid**2 + 1, width, std=0.5),
        "visual.proj": normal(width, embedding_width, std=width**-0.5),
        "visual.conv1.weight": normal(width, 3, patch, patch, std=1 / patch),
        **norm("visual.ln_pre", width),
        **norm("visual.ln_post", width),
        "positional_embedding": normal(context_length, text_width, std=0.5),
        "text_projection": normal(text_width, embedding_width, std=text_width**-0.5),
        "token_embedding.weight": normal(vocabulary_size, text_width),
        **norm("ln_final", text_width),
        "logit_scale": torch.tensor(100.0).log(),
    }
    for i in range(layers):
        tensors |= block(f"visual.transformer.resblocks.{i}", width)
    for i in range(text_layers):
        tensors |= block(f"transformer.resblocks.{i}", text_width)
    if mask_prompt_depth:
        tensors["visual.mask_embedding"] = normal(mask_prompt_depth, grid**2, width)
    if prompts is not None:
        tensors["prompt_learner.prefix_prompt"] = normal(prompts[0], text_width)
        tensors["prompt_learner.suffix_prompt"] = normal(prompts[1], text_width)
    return tensors
