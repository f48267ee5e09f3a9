"""The optimizer Muon (Jordan et al. 2024) for matrices and convolutions.

It computes the update of ``torch.optim.Muon`` with ``adjust_lr_fn="match_rms_adamw"``, which does not fit
here for two reasons:

* It takes matrices only. MaskFormer's convolutions are trained by Muon, too, as the matrix of their filters.
* It always iterates in bfloat16. On a processor without bfloat16 instructions that takes 4.6 times as long as
  the float32 that is used here (a 768×192 matrix, two cores, AVX2); with them the two take the same time.

On a GPU, matrices of one shape are also updated together, in fewer kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ovseg_demo.runtime.devices import multiplies_bfloat16

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_STEP_SIZE = 0.2
"""Root mean square of an update in units of the learning rate, as AdamW's (Moonlight, arXiv 2502.16982)."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay.

    Args:
        params: parameters of two dimensions or more, or groups of them.
        lr: learning rate; AdamW's values are suitable.
        weight_decay: as AdamW's.
        momentum: factor of the running mean of the gradients, from 0 to 1.
    """

    def __init__(self, params: Any, lr: float = 1e-3, weight_decay: float = 0.0, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.flatten(1).shape, []).append(parameter)
            for parameters in alike.values():
                self._move(parameters, group["lr"], group["weight_decay"], group["momentum"])
        return loss

    def _move(self, parameters: list[Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        """Update parameters whose matrices have one shape together: small products leave a GPU idle."""
        gradients = [parameter.grad for parameter in parameters]
        means = [self._mean(parameter) for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, means, momentum)
        steps = orthogonal(torch.stack([update.flatten(1) for update in updates]))
        longest = max(steps.shape[1:])
        torch._foreach_mul_(parameters, 1 - lr * weight_decay)
        matched = [step.view_as(update) for step, update in zip(steps, updates, strict=True)]
        torch._foreach_add_(parameters, matched, alpha=-lr * _STEP_SIZE * longest**0.5)

    def _mean(self, parameter: Tensor) -> Tensor:
        """Return the running mean of a parameter's gradients; zeros at first."""
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return state["momentum_buffer"]


def orthogonal(matrix: Tensor) -> Tensor:
    """Return an approximation (…, R, C) of U·Vᵀ for each matrix U·S·Vᵀ, by a quintic Newton-Schulz iteration.

    It computes in bfloat16 where the hardware multiplies it, and else in float32.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[-2] <= matrix.shape[-1]
    found = (matrix if wide else matrix.mT).to(
        torch.bfloat16 if multiplies_bfloat16(matrix.device.type) else torch.float32
    )
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return (found if wide else found.mT).to(matrix.dtype)
