"""How far training in bf16 may be from training in fp32: bounds that follow from the width of its mantissa.

bf16 has 8 significant bits (7 of them stored), so rounding to the nearest changes a number by at most u = 2^-8 of itself,
and by 2^-9 in the middle. Under autocast a matrix product rounds its two factors and its result, and sums in float32.
Weights, residual stream, norms and losses stay float32. Roundings have either sign and do not depend on each other: n of
them one behind the other change a result by about sqrt(n) u of its norm, and by no more since u is the largest rounding.
"""

import torch
from torch import Tensor

from codesage.encoder.config import Config

UNIT = torch.finfo(torch.bfloat16).eps / 2  # 2^-8, the largest relative rounding
# Of a block: 3 for each of its four linear layers, 4 in attention (the scores, their softmax, its product with the values,
# and the factor of the scores), 1 of GELU.
_BLOCK, _HEAD = 3 * 4 + 4 + 1, 3


def bf16_rounding(config: Config) -> tuple[float, float]:
    """Bounds of relative differences between bf16 and fp32: of a loss, and of the norm of a gradient.

    A loss has every rounding of the forward pass behind it: as long as the loss is no smaller than the scores it is made
    of, its relative error is no larger than theirs. A gradient has those of the backward pass too, which is as long.
    """
    forward = config.num_hidden_layers * _BLOCK + _HEAD
    return forward**0.5 * UNIT, (2 * forward) ** 0.5 * UNIT


def distance(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference, as a share of the norm of `expected`."""
    return ((found - expected).norm() / expected.norm()).item()
