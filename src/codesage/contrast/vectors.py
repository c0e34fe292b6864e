"""Turn batches of token ids into pooled vectors, at full depth or through the embedding only.

In: an encoder and documents as rows of ids. Out: vectors (B, D), differentiable. With depth 0 the encoder is
mean(ln_f(wte[id] + wpe[position])), which does not need the (T, D) matrices of the general path; see `shallow`.
Shapes: B documents, T tokens in all documents, D width, V vocabulary, S positions.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codesage.corpus.tokens.ragged import Ragged, spans
from codesage.encoder.model import Encoder
from codesage.encoder.transfer import sent

_COMPACT = 8  # the table of all (id, position) pairs may be this many times larger than the batch's tokens


def taken(documents: Ragged, rows: np.ndarray | list[int]) -> Ragged:
    """The given rows, in the given order."""
    rows = np.asarray(rows, np.int64)
    lengths = documents.lengths_at(rows)
    return Ragged(documents.ids[spans(documents.borders[rows], lengths)], np.concatenate(([0], lengths.cumsum())))


def stacked(*parts: Ragged) -> Ragged:
    """Concatenate the rows of all parts."""
    ends = np.concatenate([part.lengths for part in parts]).cumsum()
    return Ragged(np.concatenate([part.ids for part in parts]), np.concatenate(([0], ends)))


def embed(encoder: Encoder, documents: Ragged, *, depth: int | None = None) -> Tensor:
    """Pooled vectors (B, D) of documents given as integer ids, in the given order; `depth` as in Encoder.forward.

    Depth 0 uses `shallow` where it computes the same function: without dropout before the norm and without sharding.
    """
    dropout = encoder.training and encoder.config.embedding_dropout_prob > 0
    if depth == 0 and not dropout and not hasattr(encoder.wte.weight, "full_tensor"):
        return shallow(encoder, documents)
    return encoder.embed(documents.rows(), depth=depth)


def shallow(encoder: Encoder, documents: Ragged) -> Tensor:
    """The vectors of `embed` at depth 0, computed from the tables instead of token by token.

    Let w and p be the rows of the two tables minus their mean over D. A normalised token is (w + p) r, where
    1/r^2 = mean(w^2) + mean(p^2) + 2 mean(w p) + eps. The mean of (w + p) r over tokens is a weighted bag of rows: one fused
    lookup, and another for its gradient. mean(w p) for all ids and positions in use is one matrix product.
    """
    device, norm, lengths = encoder.wte.weight.device, encoder.ln_f, documents.lengths
    if not len(lengths) or lengths.min() < 1 or lengths.max() > encoder.config.max_position_embeddings:
        raise ValueError(
            f"documents of {lengths.min(initial=0)} to {lengths.max(initial=0)} tokens, expected 1 to "
            f"{encoder.config.max_position_embeddings}"
        )
    ends, longest = lengths.cumsum(), int(lengths.max())
    starts_B = sent(torch.from_numpy(ends - lengths), device)
    positions_T = sent(torch.from_numpy(np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)), device)
    words_VD, rows_T = encoder.wte.weight, documents.ids.astype(np.int64)
    if words_VD.shape[0] * longest > _COMPACT * len(rows_T):  # small batch: leave out unused rows
        used_V = np.zeros(len(words_VD), np.bool_)
        used_V[rows_T] = True
        words_VD, rows_T = words_VD[sent(torch.from_numpy(np.flatnonzero(used_V)), device)], (used_V.cumsum() - 1)[rows_T]
    rows_T = sent(torch.from_numpy(rows_T), device)
    with torch.autocast(device.type, enabled=False):
        words_VD = words_VD - words_VD.mean(1, keepdim=True)
        places_SD = encoder.wpe.weight[:longest]
        places_SD = places_SD - places_SD.mean(1, keepdim=True)
        width = words_VD.shape[1]
        variance_VS = torch.addmm(
            places_SD.square().mean(1) + words_VD.square().mean(1, keepdim=True), words_VD, places_SD.T, alpha=2 / width
        )
        # look up in a (V, S) table of 2 million floats instead of building a (T, D) matrix of a hundred million
        scale_T = (variance_VS.flatten().gather(0, rows_T * longest + positions_T).clamp_min(0) + norm.eps).rsqrt()
        sums_BD = F.embedding_bag(rows_T, words_VD, starts_B, mode="sum", per_sample_weights=scale_T)
        document_T = sent(torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)), device)
        scale_BS = scale_T.new_zeros(len(lengths) * longest).scatter(0, document_T * longest + positions_T, scale_T)
        sums_BD = sums_BD + scale_BS.view(len(lengths), longest) @ places_SD
        mean_BD = sums_BD / sent(torch.from_numpy(lengths), device).to(sums_BD.dtype)[:, None]
        return encoder.project(mean_BD * norm.weight + norm.bias)
