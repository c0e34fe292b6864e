"""Bounds on the difference between training in bf16 and in fp32, derived from the width of the mantissa.

bf16 has 8 significant bits (7 of them stored). Rounding to nearest changes a number by at most u = 2^-8 of itself, and by
2^-9 on average. Under autocast a matrix product rounds its two factors and its result, and sums in float32. Weights, residual
stream, norms and losses stay in float32. Roundings are independent and have either sign. So n roundings in sequence change a
result by about sqrt(n) u of its norm, and by no more, because u is the largest rounding.
"""

import torch
from torch import Tensor

from codesage.encoder.config import Config

UNIT = torch.finfo(torch.bfloat16).eps / 2  # 2^-8, the largest relative rounding
# Roundings in a block: 3 in each of its four linear layers, 4 in attention (the scores, their softmax, the product with the
# values, and the factor of the scores), and 1 in GELU.
_BLOCK, _HEAD = 3 * 4 + 4 + 1, 3


def bf16_rounding(config: Config) -> tuple[float, float]:
    """Bounds of the relative differences between bf16 and fp32: for a loss, and for the norm of a gradient.

    A loss has all roundings of the forward pass. If the loss is not smaller than the scores it is computed from, its relative
    error is not larger than theirs. A gradient also has the roundings of the backward pass, which is as long.
    """
    forward = config.num_hidden_layers * _BLOCK + _HEAD
    return forward**0.5 * UNIT, (2 * forward) ** 0.5 * UNIT


def distance(value: Tensor, expected: Tensor) -> float:
    """Norm of the difference as a fraction of the norm of `expected`."""
    return ((value - expected).norm() / expected.norm()).item()
