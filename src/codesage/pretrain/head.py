"""The vocabulary loss in chunks of rows, with the gradients computed in the same pass.

The inputs are the hidden states of the hidden tokens, the tied embedding and the labels. The output is the sum of the cross
entropies. The logits of all rows at once would be the largest tensor of a step (a million rows of 49,154 floats: 200 GB).
Here the logits of one chunk are turned into its gradient and then freed. The backward pass only scales these gradients.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows of a chunk: few enough for the cache on a CPU, and on CUDA enough to make adding up the table's gradient cheap.
_ROWS = {"cpu": 512, "cuda": 4096}


def chunk_rows(device: torch.device) -> int:
    """Number of rows of a chunk on a device."""
    return _ROWS.get(device.type, 4096)


def chunk_floats(rows: float, vocab_size: int) -> float:
    """Peak memory, in floats, of a chunk of `rows` rows without the gradients: twice its logits."""
    return 2 * rows * vocab_size


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, rows: int) -> Tensor:
        """The summed cross entropy, a scalar, of M hidden states, with the logits of `rows` of them at a time."""
        kind = states_MD.device.type
        casts = torch.is_autocast_enabled(kind) and states_MD.dtype != torch.float64  # autocast leaves float64 alone
        fast = torch.get_autocast_dtype(kind) if casts else states_MD.dtype
        sums = torch.promote_types(fast, torch.float32)
        total = states_MD.new_zeros((), dtype=sums)
        with torch.autocast(kind, enabled=False):
            x_MD, w_VD = states_MD.to(fast), weight_VD.to(fast)
            gradient_MD, gradient_VD = torch.empty_like(x_MD), torch.zeros_like(weight_VD, dtype=sums)
            for start in range(0, len(x_MD), rows):
                x_RD, labels_R1 = x_MD[start : start + rows], labels_M[start : start + rows, None]
                scores_RV = (x_RD @ w_VD.T).log_softmax(1, dtype=sums)
                score_R1 = scores_RV.gather(1, labels_R1)
                total -= score_R1.sum()
                # The gradient of the logits: the softmax, less 1 at the label.
                error_RV = torch.exp(scores_RV, out=scores_RV if fast == sums else torch.empty_like(scores_RV, dtype=fast))
                error_RV.scatter_(1, labels_R1, score_R1.expm1().to(fast))
                torch.mm(error_RV, w_VD, out=gradient_MD[start : start + rows])
                gradient_VD += error_RV.T @ x_RD
        ctx.save_for_backward(gradient_MD.to(states_MD.dtype), gradient_VD.to(weight_VD.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient_MD, gradient_VD = ctx.saved_tensors
        return gradient_MD * upstream, gradient_VD * upstream, None, None


def summed_cross_entropy(states_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, *, rows: int = 0) -> Tensor:
    """Sum over M tokens of the cross entropy (natural log) of states @ weight.T against `labels_M`, a scalar.

    `rows` is the number of rows of a chunk (0: `chunk_rows`). `chunk_floats` gives the peak memory without the gradients.
    Under autocast, products have its dtype, except that float64 states stay float64. Sums are at least in fp32.
    """
    return _Summed.apply(states_MD, weight_VD, labels_M, rows or chunk_rows(states_MD.device))
