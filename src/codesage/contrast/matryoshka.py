"""Matryoshka losses (CodeSage V2; Kusupati et al. 2022): vectors that remain useful when truncated.

In: vectors and a loss over pairs of them. Out: the weighted mean of that loss over prefixes of the vectors. The loss
normalises its inputs, so each prefix is trained as the vector it becomes after truncation.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from codesage.errors import CodesageError

Loss = Callable[[Tensor, Tensor], Tensor]


def matryoshka_loss(
    text_PD: Tensor, code_PD: Tensor, *, loss: Loss, dims: Sequence[int], weights: Sequence[float] = ()
) -> Tensor:
    """sum_m w_m loss(text[:, :m], code[:, :m]) / sum_m w_m over the prefix widths m of `dims`.

    `weights`: one per prefix; (): all 1. Without `dims` this is the plain loss. ValueError when a prefix is wider than
    the vectors, or the number of weights differs.
    """
    if not dims:
        return loss(text_PD, code_PD)
    if max(dims) > text_PD.shape[1] or min(dims) < 1:
        raise ValueError(f"prefixes {list(dims)} of vectors of width {text_PD.shape[1]}, expected 1 to the width")
    weights = tuple(weights) or (1.0,) * len(dims)
    parts = [weight * loss(text_PD[:, :m], code_PD[:, :m]) for m, weight in zip(dims, weights, strict=True)]
    return sum(parts[1:], parts[0]) / sum(weights)


def check_dims(dims: Sequence[int], weights: Sequence[float], width: int) -> None:
    """CodesageError when the prefixes and weights are not valid for vectors of this width."""
    if not dims:
        if weights:
            raise CodesageError(f"matryoshka_weights {list(weights)} without matryoshka_dims: give the dims too")
        return
    if sorted(set(dims)) != list(dims) or dims[0] < 1 or dims[-1] != width:
        raise CodesageError(f"matryoshka_dims are {list(dims)}, expected rising widths that end with the encoder's, {width}")
    if weights and (len(weights) != len(dims) or min(weights) < 0 or sum(weights) <= 0):
        raise CodesageError(f"matryoshka_weights are {list(weights)}, expected {len(dims)} of them, none negative")
