"""The vocabulary loss in chunks of rows: logits of a few rows at a time, gradients in the same pass.

In: hidden states of the hidden tokens, the tied embedding, the labels. Out: the sum of their cross entropies. Logits
of all rows at once would be the largest tensor of a step (a million rows of 49,154 floats: 200 GB); here a chunk's
logits become its gradient in place and are gone, and backward only scales what forward has found.
"""

import torch
from torch import Tensor

ROWS = 512  # of a chunk: large enough for a full-speed product, small enough to stay near the cache


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(context, states_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, rows: int) -> Tensor:
        kind = states_MD.device.type
        fast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states_MD.dtype
        sums = torch.promote_types(fast, torch.float32)
        total = states_MD.new_zeros((), dtype=sums)
        with torch.autocast(kind, enabled=False):
            x_MD, w_VD = states_MD.to(fast), weight_VD.to(fast)
            gradient_MD, gradient_VD = torch.empty_like(x_MD), torch.zeros_like(weight_VD, dtype=sums)
            for start in range(0, len(x_MD), rows):
                x_RD, labels_R1 = x_MD[start : start + rows], labels_M[start : start + rows, None]
                logits_RV = (x_RD @ w_VD.T).to(sums)
                scale_R1 = logits_RV.logsumexp(1, keepdim=True)
                total += (scale_R1 - logits_RV.gather(1, labels_R1)).sum()
                error_RV = logits_RV.sub_(scale_R1).exp_()  # softmax, then minus the label: the gradient of the logits
                error_RV.scatter_add_(1, labels_R1, -torch.ones_like(scale_R1))
                error_RV = error_RV.to(fast)
                torch.mm(error_RV, w_VD, out=gradient_MD[start : start + rows])
                gradient_VD += error_RV.T @ x_RD
        context.save_for_backward(gradient_MD.to(states_MD.dtype), gradient_VD.to(weight_VD.dtype))
        return total

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple:
        gradient_MD, gradient_VD = context.saved_tensors
        return gradient_MD * gradient, gradient_VD * gradient, None, None


def summed_cross_entropy(states_MD: Tensor, weight_VD: Tensor, labels_M: Tensor, *, rows: int = ROWS) -> Tensor:
    """Sum over M tokens of the cross entropy (natural log) of states @ weight.T against `labels_M`, a scalar.

    Peak memory beside the gradients is rows * V floats. Under autocast products are in its dtype; sums in fp32 at least.
    """
    return _Summed.apply(states_MD, weight_VD, labels_M, rows)
