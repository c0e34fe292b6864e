"""The score a person watches while training: how well texts find their codes among held-out pairs.

In: an encoder and the token ids of P pairs. Out: the mean reciprocal rank, in percent, of each text's own code among
all P codes by cosine, ties against it. It is small and quick; `codesage evaluate` measures for the record.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.encoder.model import Encoder


def score(encoder: Encoder, texts: Sequence[np.ndarray], codes: Sequence[np.ndarray], *, micro_tokens: int = 16_384) -> float:
    """Mean reciprocal rank x 100 of P texts against P codes, given as token ids with their end tokens."""
    texts_PD, codes_PD = (_vectors(encoder, sides, micro_tokens) for sides in (texts, codes))
    similar_PP = texts_PD @ codes_PD.T
    rank_P = (similar_PP >= similar_PP.diagonal()[:, None]).sum(1)
    return 100 * (1 / rank_P.double()).mean().item()


def _vectors(encoder: Encoder, sides: Sequence[np.ndarray], micro_tokens: int) -> Tensor:
    order = sorted(range(len(sides)), key=lambda i: len(sides[i]))
    found = [encoder.embed([sides[i].tolist() for i in chosen]).float() for chosen in _budgeted(sides, order, micro_tokens)]
    vectors = F.normalize(torch.cat(found), dim=-1)
    return vectors[torch.tensor(order, device=vectors.device).argsort()]


def _budgeted(sides: Sequence[np.ndarray], order: list[int], budget: int) -> Iterator[list[int]]:
    chosen, tokens = [], 0
    for i in order:
        if chosen and tokens + len(sides[i]) > budget:
            yield chosen
            chosen, tokens = [], 0
        chosen.append(i)
        tokens += len(sides[i])
    yield chosen
