"""The score a person watches during Stage II: held-out texts against held-out bodies, as search would meet them.

In: an encoder, and the held-out pairs of Tokens. Out: a function that gives {"mrr": ...}, in percent.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from codesage.contrast import batches, cached
from codesage.contrast.vectors import embed, taken
from codesage.corpus.ragged import Ragged, joined
from codesage.corpus.tokens import PairTokens, Tokens
from codesage.encoder.model import Encoder

PAIRS = 500
_MICRO = 16_384  # tokens embedded at a time


def scorer(encoder: Encoder, tokens: Tokens, settings: batches.Settings, *, depth: int | None) -> Callable[[], dict] | None:
    """A function that scores `encoder` as it then is, on at most 500 pairs cut to the settings' lengths.

    Its score is the mean reciprocal rank of each text's own body among all of them by cosine, times 100, ties against
    it. None when fewer than two pairs are held out.
    """
    chosen = _distinct(tokens.held_out)[:PAIRS]
    if len(chosen) < 2:
        return None
    texts = _side(tokens.held_out.text, chosen, settings.text_tokens, tokens.end_id)
    bodies = _side(tokens.held_out.body, chosen, settings.code_tokens, tokens.end_id)

    def score() -> dict:
        with torch.no_grad():
            texts_PD, bodies_PD = (_unit_vectors(encoder, side, depth) for side in (texts, bodies))
            similar_PP = texts_PD @ bodies_PD.T
            rank_P = (similar_PP >= similar_PP.diagonal()[:, None]).sum(1)
        return {"mrr": round(100 * (1 / rank_P.double()).mean().item(), 2)}

    return score


def _distinct(pairs: PairTokens) -> np.ndarray:
    """Numbers of pairs with a body whose text and body no earlier one has, spread over all, in their order."""
    found, texts, bodies = [], set(), set()
    filled = np.flatnonzero(pairs.body.lengths > 0)
    for row in np.random.default_rng(0).permutation(filled).tolist():
        text, body = int(pairs.text_key[row]), int(pairs.body_key[row])
        if text not in texts and body not in bodies:
            texts.add(text)
            bodies.add(body)
            found.append(row)
            if len(found) == PAIRS:
                break
    return np.array(sorted(found), np.int64)


def _side(side: Ragged, rows: np.ndarray, limit: int, end_id: int) -> Ragged:
    return joined([(side.ids, side.borders[rows], np.minimum(side.lengths_at(rows), limit - 1))], end_id=end_id)


def _unit_vectors(encoder: Encoder, side: Ragged, depth: int | None) -> torch.Tensor:
    rows = cached.micro_batches(side.lengths.tolist(), tokens=_MICRO)
    found = torch.cat([embed(encoder, taken(side, micro), depth=depth).float() for micro in rows])
    order = torch.tensor([row for micro in rows for row in micro], device=found.device)
    return F.normalize(found, dim=-1)[order.argsort()]
