"""The contrastive loss for large batches: the same value and gradient as `contrastive_loss`, in square tiles.

In: pooled vectors of P texts and of their P codes. Out: one scalar. The plain form writes a dozen matrices of (2P)^2 scores,
1 GB each at the published batch of 8,192 pairs. Here memory is a few tiles for any P. Scores are symmetric, so only tiles on
and above the diagonal are computed, first for the row sums and then for the gradient; tiles that do not fit in memory are
computed twice. The gradient is ready together with the loss. This takes 3 to 4 N^2 D operations. Autograd over the plain
form takes 6 and streams every matrix through memory. Shapes: P pairs, D width, N = 2P vectors, T vectors per tile.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from codesage.contrast.loss import check, contrastive_loss

_TILE = {"cpu": 512, "cuda": 4096}  # on a CPU a tile fits in the last-level cache; on CUDA it fills the device
_KEPT = 2**28  # bytes; up to this size, tiles are kept between the two passes instead of computed again
_REACH = {torch.float32: 80.0, torch.float64: 700.0}  # largest x for which e^-x is a normal number


def tiled_loss(
    text_PD: Tensor, code_PD: Tensor, *, temperature: float = 0.05, negatives: str = "softmax", tile: int = 0
) -> Tensor:
    """`contrastive_loss` of the same arguments, up to rounding. `tile`: vectors per tile, 0 for the device's default.

    It can be differentiated once. It is computed in at least float32, also under autocast, because at temperature 0.05 the
    rounding error of a bf16 score is a tenth of the score. Exponentials are taken of s - 1/temperature, so each one serves
    both of its vectors. Where the smallest would underflow (temperatures under 0.025, or 0.05 with weighted negatives),
    float64 is used, and under a ninth of these temperatures the plain form. ValueError as in `contrastive_loss`.
    """
    check(text_PD, code_PD, temperature, negatives)
    with torch.autocast(text_PD.device.type, enabled=False):
        sides = [side if side.dtype == torch.float64 else side.float() for side in (text_PD, code_PD)]
        reach = (2 if negatives == "uniform" else 4) / temperature
        if reach > _REACH[torch.float64] or len(text_PD) == 1:
            return contrastive_loss(*sides, temperature=temperature, negatives=negatives).to(text_PD.dtype)
        unit_ND = F.normalize(torch.cat(sides), dim=-1)
        if reach > _REACH[unit_ND.dtype]:
            unit_ND = unit_ND.double()
        tile = tile or _TILE.get(text_PD.device.type, 4096)
        return _Tiled.apply(unit_ND, temperature, negatives, tile).to(text_PD.dtype)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, unit_ND: Tensor, temperature: float, negatives: str, tile: int) -> Tensor:
        """The loss, a scalar, of 2P unit vectors (2P, D): texts, then codes in the same order."""
        tiles = _Tiles(unit_ND / math.sqrt(temperature), 1 / temperature, tile)
        positive_N = (unit_ND * unit_ND.roll(tiles.pairs, 0)).sum(1) / temperature
        once_N, twice_N = tiles.sums(weighted=negatives != "uniform")
        weighted_N = once_N.log() + tiles.shift
        if twice_N is not None:
            weighted_N = twice_N.log() + 2 * tiles.shift - weighted_N
        if negatives == "mean_one":
            weighted_N = weighted_N + math.log(2 * tiles.pairs - 2)
        margin_N = weighted_N - positive_N
        if ctx.needs_input_grad[0]:
            share_N = margin_N.sigmoid() / tiles.pairs  # dloss / dweighted
            ctx.save_for_backward(tiles.gradient(share_N, once_N, twice_N) / math.sqrt(temperature))
        return F.softplus(margin_N).sum() / tiles.pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * upstream, None, None, None


class _Tiles:
    """e^(s - shift) of N scaled vectors (texts, then codes), in tiles on and above the diagonal."""

    def __init__(self, scaled_ND: Tensor, shift: float, tile: int) -> None:
        self.vectors_ND, self.shift, self.pairs = scaled_ND, shift, len(scaled_ND) // 2
        self.kept: list[tuple[slice, slice, Tensor]] | None = None
        self.keep = scaled_ND.element_size() * len(scaled_ND) ** 2 // 2 <= _KEPT
        self.spans = [slice(start, min(start + tile, len(scaled_ND))) for start in range(0, len(scaled_ND), tile)]

    def powers(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """(rows, columns, powers); powers are 0 between a vector and itself or its partner. Do not modify them."""
        if self.kept is not None:
            yield from self.kept
            return
        tiles = []
        for number, rows in enumerate(self.spans):
            for columns in self.spans[number:]:
                powers_TT = (self.vectors_ND[rows] @ self.vectors_ND[columns].T).sub_(self.shift).exp_()
                for partner in (0, self.pairs, -self.pairs):
                    offset = rows.start + partner - columns.start
                    if -len(powers_TT) < offset < powers_TT.shape[1]:
                        powers_TT.diagonal(offset).fill_(0)
                if self.keep:
                    tiles.append((rows, columns, powers_TT))
                yield rows, columns, powers_TT
        self.kept = tiles or None

    def sums(self, *, weighted: bool) -> tuple[Tensor, Tensor | None]:
        """For each vector, the sum of the powers of its negatives and, when `weighted`, of their squares: both (N,)."""
        once_N = self.vectors_ND.new_zeros(len(self.vectors_ND))
        twice_N = torch.zeros_like(once_N) if weighted else None
        for rows, columns, powers_TT in self.powers():
            for span, axis in ((rows, 1), (columns, 0)) if rows != columns else ((rows, 1),):
                once_N[span] += powers_TT.sum(axis)
                if twice_N is not None:
                    twice_N[span] += torch.linalg.vector_norm(powers_TT, dim=axis).square()
        return once_N, twice_N

    def gradient(self, share_N: Tensor, once_N: Tensor, twice_N: Tensor | None) -> Tensor:
        """dloss/dvectors (N, D), where `share_N` is dloss/dweighted of each anchor.

        dweighted_i / ds_ik is e^s_ik / sum e^s, or 2 e^2s_ik / sum e^2s - e^s_ik / sum e^s when weighted. An entry is a
        negative of both its row and its column, so it adds the shares of both.
        """
        # the positives contribute -share_i to i and to its partner
        gradient_ND = -(share_N + share_N.roll(self.pairs)).unsqueeze(1) * self.vectors_ND.roll(self.pairs, 0)
        first_N, second_N = share_N / once_N, None if twice_N is None else 2 * share_N / twice_N
        for rows, columns, powers_TT in self.powers():
            weights_TT = first_N[rows, None] + first_N[None, columns]
            if second_N is not None:
                weights_TT.neg_().addcmul_(second_N[rows, None] + second_N[None, columns], powers_TT)
            weights_TT.mul_(powers_TT)
            gradient_ND[rows].addmm_(weights_TT, self.vectors_ND[columns])
            if rows != columns:
                gradient_ND[columns].addmm_(weights_TT.T, self.vectors_ND[rows])
        return gradient_ND
