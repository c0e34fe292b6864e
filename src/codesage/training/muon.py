"""Muon: momentum for matrices whose update is orthogonalised by Newton-Schulz iterations (Jordan et al. 2024).

In: matrices and their gradients. Out: a step of the same size as AdamW's, so both use the same learning rate and decay
(Liu et al. 2025, equation 4). It is torch.optim.Muon with one difference: the dtype of the iterations can be chosen. torch
always uses bf16, which is a hundred times slower than fp32 on a processor without native bf16.
"""

# torch's functions over lists of tensors have a leading underscore:
# pyright: reportPrivateImportUsage=false

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
        """One step along the gradients in `.grad`. Matrices of one shape are updated together, in few large operations."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault(parameter.shape, []).append(parameter)
            refused, kept = None, 1 - group["lr"] * group["weight_decay"]
            if self.found_inf is not None:
                refused = self.found_inf > 0
                kept = 1 - group["lr"] * group["weight_decay"] * (1 - self.found_inf.double())
            for parameters in alike.values():
                self._move(parameters, group, refused, kept)

    def _move(self, parameters: list[Tensor], group: dict, refused: Tensor | None, kept: float | Tensor) -> None:
        """Move parameters of one shape and keep the share `kept` of what they are, unless `refused` is true."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        if refused is not None:
            gradients = torch.where(refused, torch.stack(means), torch.stack(gradients)).unbind()
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        updates = orthogonal(torch.stack(ahead), dtype=self._dtype).to(parameters[0].dtype)
        if refused is not None:
            updates = updates.masked_fill(refused, 0)
        torch._foreach_mul_(parameters, kept.to(updates.dtype) if isinstance(kept, Tensor) else kept)
        torch._foreach_add_(parameters, updates.unbind(), alpha=-0.2 * math.sqrt(max(parameters[0].shape)) * group["lr"])


def orthogonal(matrices: Tensor, *, dtype: torch.dtype) -> Tensor:
    """U S' V^T for each matrix U S V^T of a stack (n, rows, columns), with all values of S' near 1 (0.5 to 1.5), in `dtype`."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(dtype)  # wide, which gives the smaller Gram matrix
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=_TINY)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
