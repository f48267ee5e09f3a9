"""Muon (Jordan et al. 2024), for matrices and convolutions: steps whose singular values are all alike.

``torch.optim.Muon`` takes matrices only; a convolution's filters are one, too, with a row for each filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ovseg_demo.devices import multiplies_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_STEP_SIZE = 0.2
"""Root mean square of a step's numbers, in learning rates: that of AdamW (Moonlight, arXiv 2502.16982)."""


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal; weight decay is decoupled.

    Args:
        params: parameters of two dimensions or more, or groups of them.
        lr: learning rate; AdamW's fit.
        weight_decay: as AdamW's.
        momentum: Nesterov's.
    """

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move all parameters that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _move(self, parameter: Tensor, lr: float, weight_decay: float, momentum: float) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean, gradient = state["momentum_buffer"], parameter.grad
        mean.lerp_(gradient, 1 - momentum)
        update = gradient.lerp(mean, momentum)
        step = orthogonal(update.flatten(1)).view_as(update)
        rows, columns = update.flatten(1).shape
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(step, alpha=-lr * _STEP_SIZE * max(rows, columns) ** 0.5)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U·Vᵀ of a matrix U·S·Vᵀ, by a quintic Newton-Schulz iteration: (R, C).

    In bfloat16 where that is fast; on other processors it is a hundred times as slow as float32.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    found = (matrix if wide else matrix.T).to(
        torch.bfloat16 if multiplies_bfloat16(matrix.device.type) else torch.float32
    )
    found = found / found.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = a * found + (b * gram + c * gram @ gram) @ found
    return (found if wide else found.T).to(matrix.dtype)
