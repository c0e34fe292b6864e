"""The bimodal contrastive loss with weighted in-batch negatives (paper section 3.2, equation 3).

In: pooled vectors of P texts and of their P codes. Out: one scalar. Shapes: P pairs, D width, N = 2P vectors.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

NEGATIVES = ("softmax", "uniform", "mean_one")


def contrastive_loss(text_PD: Tensor, code_PD: Tensor, *, temperature: float = 0.05, negatives: str = "softmax") -> Tensor:
    """Mean over pairs of the loss of both directions, text to code and code to text.

    Let i be an anchor with partner i+, s(a, b) = cos(a, b) / temperature, and k the 2P-2 vectors of both modalities that
    are neither i nor i+:

        loss_i = -log( e^s(i,i+) / ( e^s(i,i+) + sum_k g_ik e^s(i,k) ) )

    text_PD, code_PD: float (P, D). Row p of both is a pair. Any scale works, since they are normalised here. `negatives`
    sets g: "uniform": 1 (InfoNCE); "softmax": softmax of s(i, .) over the negatives, weights sum to 1, as printed in the
    paper; "mean_one": the same scaled to sum to 2P-2, as in the public code of PairSupCon, which the paper cites. The
    gradient flows through g. With a single pair there are no negatives and the loss is 0.

    Returns a scalar of the inputs' dtype. ValueError on unequal shapes or an unknown `negatives`.
    """
    check(text_PD, code_PD, temperature, negatives)
    pairs = len(text_PD)
    vectors_ND = F.normalize(torch.cat([text_PD, code_PD]), dim=-1)
    scores_NN = vectors_ND @ vectors_ND.T / temperature
    positive_N = torch.cat([scores_NN.diagonal(pairs), scores_NN.diagonal(-pairs)])
    negative_NN = scores_NN.masked_fill(_self_and_partner(pairs, scores_NN.device), -torch.inf)
    if pairs == 1:
        return positive_N.sum() * 0.0
    # sum_k g_k e^s_k in log space; with g = softmax(s) it is sum e^(2s) / sum e^s, which needs no second matrix
    weighted_N = torch.logsumexp(negative_NN, dim=1)
    if negatives != "uniform":
        weighted_N = torch.logsumexp(2 * negative_NN, dim=1) - weighted_N
    if negatives == "mean_one":
        weighted_N = weighted_N + math.log(2 * pairs - 2)
    return F.softplus(weighted_N - positive_N).sum() / pairs


def check(text_PD: Tensor, code_PD: Tensor, temperature: float, negatives: str) -> None:
    """ValueError when these are not valid arguments of a contrastive loss."""
    if text_PD.shape != code_PD.shape or text_PD.ndim != 2 or not len(text_PD):
        raise ValueError(f"text {tuple(text_PD.shape)} and code {tuple(code_PD.shape)}: expected two equal (P, D)")
    if negatives not in NEGATIVES:
        raise ValueError(f"negatives is {negatives!r}, expected one of {', '.join(NEGATIVES)}")
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, expected more than 0")


def _self_and_partner(pairs: int, device: torch.device) -> Tensor:
    eye = torch.eye(pairs, dtype=torch.bool, device=device)
    return eye.repeat(2, 2)
