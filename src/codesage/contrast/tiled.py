"""The contrastive loss for large batches: the same value and gradient as `contrastive_loss`, in square tiles.

In: pooled vectors of P texts and of their P codes. Out: one scalar. The plain form writes a dozen matrices of (2P)^2
scores, 1 GB each at the published batch of 8,192 pairs; here memory is a few tiles, whatever P. Scores are symmetric, so
only tiles on and above the diagonal are computed, for the row sums and (again, where they do not fit) for the gradient,
which is ready when the loss is: 3 to 4 N^2 D operations, where autograd over the plain form takes 6 and streams every
matrix through memory. Shapes: P pairs, D width, N = 2P vectors, T vectors a tile.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from codesage.contrast.loss import check

_TILE = {"cpu": 1024, "cuda": 4096}  # a tile stays in the last cache on CPU, and fills the device on CUDA
_KEPT = 2**28  # bytes of scores that are kept between the two looks at them, rather than computed again


def tiled_loss(
    text_PD: Tensor, code_PD: Tensor, *, temperature: float = 0.05, negatives: str = "softmax", tile: int = 0
) -> Tensor:
    """`contrastive_loss` of the same arguments, to rounding; `tile`: vectors a tile, 0 for the device's default.

    Differentiable once. Computed in float32 at least, also under autocast: at temperature 0.05 a score's rounding
    error in bf16 is a tenth of the score. ValueError as in `contrastive_loss`.
    """
    check(text_PD, code_PD, temperature, negatives)
    with torch.autocast(text_PD.device.type, enabled=False):
        vectors_ND = torch.cat([text_PD, code_PD])
        wide = vectors_ND if vectors_ND.dtype == torch.float64 else vectors_ND.float()
        unit_ND = F.normalize(wide, dim=-1)
        tile = tile or _TILE.get(text_PD.device.type, 1024)
        return _Tiled.apply(unit_ND, temperature, negatives, tile).to(text_PD.dtype)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, unit_ND: Tensor, temperature: float, negatives: str, tile: int) -> Tensor:
        tiles = _Tiles(unit_ND / math.sqrt(temperature), tile)
        positive_N = (unit_ND * unit_ND.roll(tiles.pairs, 0)).sum(1) / temperature
        if tiles.pairs == 1:  # no negatives, nothing to learn
            ctx.save_for_backward(torch.zeros_like(unit_ND))
            return positive_N.sum() * 0.0
        once_N, twice_N = tiles.log_sums(weighted=negatives != "uniform")
        weighted_N = once_N if twice_N is None else twice_N - once_N
        if negatives == "mean_one":
            weighted_N = weighted_N + math.log(2 * tiles.pairs - 2)
        margin_N = weighted_N - positive_N
        if ctx.needs_input_grad[0]:
            share_N = margin_N.sigmoid() / tiles.pairs  # dloss / dweighted
            ctx.save_for_backward(tiles.gradient(share_N, once_N, twice_N) / math.sqrt(temperature))
        return F.softplus(margin_N).sum() / tiles.pairs

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * upstream, None, None, None


class _Tiles:
    """Scores of N scaled vectors, seen through tiles on and above the diagonal; the vectors' order is texts, codes."""

    def __init__(self, scaled_ND: Tensor, tile: int) -> None:
        self.vectors_ND, self.pairs = scaled_ND, len(scaled_ND) // 2
        self.kept: list[tuple[slice, slice, Tensor]] | None = None
        self.keep = scaled_ND.element_size() * len(scaled_ND) ** 2 // 2 <= _KEPT
        self.spans = [slice(start, min(start + tile, len(scaled_ND))) for start in range(0, len(scaled_ND), tile)]

    def scores(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """(rows, columns, scores of negatives), not to be changed: -inf where a vector meets itself or its partner."""
        if self.kept is not None:
            yield from self.kept
            return
        found = []
        for number, rows in enumerate(self.spans):
            for columns in self.spans[number:]:
                scores_TT = self.vectors_ND[rows] @ self.vectors_ND[columns].T
                for partner in (0, self.pairs, -self.pairs):
                    offset = rows.start + partner - columns.start
                    if -len(scores_TT) < offset < scores_TT.shape[1]:
                        scores_TT.diagonal(offset).fill_(-torch.inf)
                if self.keep:
                    found.append((rows, columns, scores_TT))
                yield rows, columns, scores_TT
        self.kept = found or None

    def log_sums(self, *, weighted: bool) -> tuple[Tensor, Tensor | None]:
        """log sum_k e^s_ik of each vector i, and log sum_k e^(2 s_ik) when `weighted`: both (N,)."""
        once_N = self.vectors_ND.new_full((len(self.vectors_ND),), -torch.inf)
        twice_N = once_N.clone() if weighted else None
        for rows, columns, scores_TT in self.scores():
            for span, axis in ((rows, 1), (columns, 0)) if rows != columns else ((rows, 1),):
                # a shared shift is the same for e^s and its square: one exponential serves both sums
                shift = scores_TT.amax(axis, keepdim=True).clamp_min(torch.finfo(scores_TT.dtype).min)
                powers_TT = (scores_TT - shift).exp_()
                shift = shift.squeeze(axis)
                once_N[span] = torch.logaddexp(once_N[span], powers_TT.sum(axis).log() + shift)
                if twice_N is not None:
                    squares = powers_TT.square_().sum(axis).log() + 2 * shift
                    twice_N[span] = torch.logaddexp(twice_N[span], squares)
        return once_N, twice_N

    def gradient(self, share_N: Tensor, once_N: Tensor, twice_N: Tensor | None) -> Tensor:
        """dloss/dvectors (N, D), where `share_N` is dloss/dweighted of each anchor."""
        # of the positives: -share_i to both i and its partner
        gradient_ND = -(share_N + share_N.roll(self.pairs)).unsqueeze(1) * self.vectors_ND.roll(self.pairs, 0)
        for rows, columns, scores_TT in self.scores():
            # weights of a tile and of its mirror image: an entry is a negative of its row and of its column
            weights_TT = torch.zeros_like(scores_TT)
            for span, axis in ((rows, 1), (columns, 0)):
                share, once = share_N[span].unsqueeze(axis), once_N[span].unsqueeze(axis)
                if twice_N is None:
                    weights_TT.add_((scores_TT - (once - share.log())).exp_())
                    continue
                powers_TT = (scores_TT - once).exp_()
                ratio = share * (2 * once - twice_N[span].unsqueeze(axis)).exp() * 2
                weights_TT.addcmul_(powers_TT, powers_TT * ratio - share)
            gradient_ND[rows].addmm_(weights_TT, self.vectors_ND[columns])
            if rows != columns:
                gradient_ND[columns].addmm_(weights_TT.T, self.vectors_ND[rows])
        return gradient_ND
