"""The retrieval score shown during training: search held-out bodies with held-out texts.

In: an encoder and the held-out pairs of Tokens. Out: a function that returns {"mrr": ...}, in percent. It is small, fast and
the same in both stages. `codesage evaluate` gives the final figures. Shapes: P pairs, D width.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.corpus.tokens.ragged import Ragged, joined
from codesage.corpus.tokens.tokenised import PairTokens, Tokens
from codesage.encoder.model import Encoder
from codesage.encoder.runtime import batches_by_length

PAIRS = 500
_MICRO_TOKENS = 16_384  # tokens embedded at a time


def scorer(
    encoder: Encoder, tokens: Tokens, *, text_tokens: int, code_tokens: int, pairs: int = PAIRS, depth: int | None = None
) -> Callable[[], dict] | None:
    """A function that scores `encoder` in its current state, on at most `pairs` pairs with distinct texts and bodies.

    Both sides are cut to the given number of tokens, end token included; `depth` as in Encoder.forward. The score is
    `mean_reciprocal_rank`, rounded to 2 digits. None when fewer than two pairs are held out.
    """
    chosen = distinct(tokens.held_out, most=pairs)
    if len(chosen) < 2:
        return None
    held_out, end_id = tokens.held_out, tokens.end_id
    sides = [cut(held_out.text, chosen, text_tokens, end_id), cut(held_out.body, chosen, code_tokens, end_id)]
    texts, bodies = (side.rows() for side in sides)

    def score() -> dict:
        with torch.no_grad():
            texts_PD, bodies_PD = (vectors(encoder, side, depth=depth) for side in (texts, bodies))
        return {"mrr": round(mean_reciprocal_rank(texts_PD, bodies_PD), 2)}

    return score


def mean_reciprocal_rank(texts_PD: Tensor, codes_PD: Tensor) -> float:
    """Mean reciprocal rank x 100 of each text's own code among all P codes by cosine; ties count against it.

    Both inputs are float (P, D) of any scale; row p of both is a pair.
    """
    with torch.autocast(texts_PD.device.type, enabled=False):  # in bf16 close scores would tie, and ties count against the code
        similar_PP = F.normalize(texts_PD, dim=-1) @ F.normalize(codes_PD, dim=-1).T
    rank_P = (similar_PP >= similar_PP.diagonal()[:, None]).sum(1)
    return 100 * (1 / rank_P.double()).mean().item()


def distinct(pairs: PairTokens, *, most: int) -> np.ndarray:
    """Row numbers of randomly chosen pairs with distinct texts and distinct bodies, sorted."""
    chosen, texts, bodies = [], set(), set()
    filled = np.flatnonzero((pairs.body.lengths > 0) & (pairs.text.lengths > 0))
    for row in np.random.default_rng(0).permutation(filled).tolist():
        if len(chosen) == most:
            break
        text, body = int(pairs.text_key[row]), int(pairs.body_key[row])
        if text not in texts and body not in bodies:
            texts.add(text)
            bodies.add(body)
            chosen.append(row)
    return np.array(sorted(chosen), np.int64)


def cut(side: Ragged, rows: np.ndarray, limit: int, end_id: int) -> Ragged:
    """The documents of `rows`, each cut at `limit` tokens with its end token."""
    return joined([side.first(rows, limit - 1)], end_id=end_id)


def vectors(
    encoder: Encoder, documents: Sequence[Sequence[int] | np.ndarray], *, tokens: int = _MICRO_TOKENS, depth: int | None = None
) -> Tensor:
    """As Encoder.embed for any number of documents, about `tokens` tokens at a time: float32 (n, vector width)."""
    batches = list(batches_by_length(list(map(len, documents)), budget=tokens))
    parts = [encoder.embed([documents[row] for row in rows], depth=depth).float() for rows in batches]
    return torch.cat(parts)[torch.tensor([row for rows in batches for row in rows]).argsort().to(parts[0].device)]
