"""Muon: momentum for matrices whose update is orthogonalised by Newton-Schulz iterations (Jordan et al. 2024).

In: matrices and their gradients. Out: a step of the same size as AdamW's, so both use the same learning rate and decay
(Liu et al. 2025, equation 4). It is torch.optim.Muon with one difference: the dtype of the iterations can be chosen. torch
always uses bf16, which is a hundred times slower than fp32 on a processor without native bf16.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from codesage.training.uncompiled import Uncompiled

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic with the largest slope at zero
_ITERATIONS = 5
_TINY = 1e-7


class Muon(Uncompiled):
    """Muon with Nesterov momentum. Parameters must be unsharded matrices."""

    def __init__(
        self, params: Iterable, *, lr: float, weight_decay: float, momentum: float = 0.95, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        """`dtype`: of the Newton-Schulz iterations. ValueError when a parameter is not a matrix."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self._dtype = dtype
        for shape in (parameter.shape for group in self.param_groups for parameter in group["params"]):
            if len(shape) != 2:
                raise ValueError(f"a parameter of shape {tuple(shape)}: expected matrices")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] (no closures)
        """One step along the gradients in `.grad`."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = orthogonal(gradient.lerp(mean, momentum), dtype=self._dtype)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-0.2 * math.sqrt(max(parameter.shape)) * group["lr"])


def orthogonal(matrix: Tensor, *, dtype: torch.dtype) -> Tensor:
    """U S' V^T for a matrix U S V^T, with all values of S' near 1 (0.5 to 1.5), in `dtype`."""
    a, b, c = _COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T  # gives the smaller Gram matrix
    x = wide.to(dtype)
    x = x / x.norm().clamp(min=_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrix else x.T
