"""Which optimizer trains which parameter: Muon for inner matrices, AdamW for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ovseg_demo.training.muon import Muon
from ovseg_demo.training.schedule import LoopSettings


def decay_groups(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    without: Sequence[nn.Parameter] = (),
    muon_lr: float | None = None,
    muon_without: Sequence[nn.Module] = (),
    muon_layers: tuple[type[nn.Module], ...] = (nn.Linear, nn.MultiheadAttention),
) -> list[dict[str, Any]]:
    """Return the groups of a module's trainable parameters; weight decay applies to matrices only.

    Args:
        module: whose parameters.
        lr: learning rate at the schedule's peak.
        weight_decay: of the matrices.
        without: parameters to leave out.
        muon_lr: learning rate of the inner layers' matrices, which then form a group for Muon;
            ``None`` leaves them to AdamW.
        muon_without: layers that stay with AdamW nevertheless, such as heads.
        muon_layers: types of inner layers.
    """
    others = {id(parameter) for parameter in without}
    if muon_lr is not None:
        inner = _matrices(module, muon_layers, {id(layer) for layer in muon_without})
        group = {"params": inner, "lr": muon_lr, "weight_decay": weight_decay, "muon": True}
        return [*decay_groups(module, lr, weight_decay, [*without, *inner]), group]
    trainable = [p for p in module.parameters() if p.requires_grad and id(p) not in others]
    matrices = [parameter for parameter in trainable if parameter.ndim >= 2]
    vectors = [parameter for parameter in trainable if parameter.ndim < 2]
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizers(groups: list[dict[str, Any]], settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """Return Muon for groups with ``"muon": True`` and AdamW for the others, each only if it has groups."""
    orthogonal = [group for group in groups if group.get("muon")]
    others = [group for group in groups if not group.get("muon")]
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(torch.optim.AdamW(others, betas=settings.betas, eps=settings.epsilon, fused=True))
    if orthogonal:
        optimizers.append(Muon(orthogonal))
    return optimizers


def _matrices(module: nn.Module, kinds: tuple[type[nn.Module], ...], without: set[int]) -> list[nn.Parameter]:
    """Return the trainable weights of the layers of these kinds."""
    layers = [layer for layer in module.modules() if isinstance(layer, kinds) and id(layer) not in without]
    weights = [
        getattr(layer, "in_proj_weight" if hasattr(layer, "in_proj_weight") else "weight") for layer in layers
    ]
    return [weight for weight in weights if weight is not None and weight.requires_grad]
