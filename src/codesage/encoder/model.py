"""The encoder: a pre-LN GPT-2 body, fully bidirectional (paper section 3, appendix A), or the post-LN body of BERT.

In: the token ids of all documents in one flat sequence, and the length of each document. Out: the last hidden states, flat.
There is no padding. Linear layers, norms and embeddings work on the flat tokens of all documents; only attention is limited
to each document. If only some states are needed, such as those of masked tokens, only these are computed from the queries of
the last block on. Attention is one varlen flash attention call on CUDA in half precision (also under autocast). Elsewhere, and
for heads of a width that flash attention does not take, neighbouring documents of equal length are stacked, without padding,
and share one call per length, so callers sort documents by length. In bf16 on a CPU, short documents use two plain products,
whose gradient takes a fifth of the time (docs/log.md).
Shapes: T tokens in all documents, M requested tokens (Q in one document), B documents, L length, D width, H heads, K head
width, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codesage.encoder.config import ACTIVATIONS, Config
from codesage.encoder.transfer import sent
from codesage.errors import CodesageError

_PLAIN_LENGTH = 1024  # of bf16 on a CPU: the weights of longer documents take too much memory


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the documents of a flat batch are: computed once per batch, used by every layer."""

    lengths: tuple[int, ...]
    positions_T: Tensor  # 0..length-1 within each document: positions restart at each border
    document_T: Tensor  # the document of each token
    runs: tuple[tuple[int, int], ...]  # (documents, length) of neighbours of equal length: few if sorted by length
    borders: Tensor  # B+1 cumulative lengths, int32, as varlen attention expects

    @staticmethod
    def of(lengths: Sequence[int], device: torch.device | str = "cpu") -> "Layout":
        """Layout of documents with these lengths, in this order. ValueError when it is empty or a length is under 1."""
        if not lengths or min(lengths) < 1:
            raise ValueError(f"lengths {list(lengths)[:5]}: expected at least one document and no empty document")
        length_B = torch.tensor(lengths)
        borders = F.pad(length_B.cumsum(0), (1, 0))
        document_T = torch.repeat_interleave(torch.arange(len(lengths)), length_B)
        positions_T = torch.arange(len(document_T)) - borders[document_T]
        runs = tuple((len(list(same)), length) for length, same in groupby(lengths))
        positions_T, document_T, borders = (sent(tensor, device) for tensor in (positions_T, document_T, borders.int()))
        return Layout(tuple(lengths), positions_T, document_T, runs, borders)

    def require_positions(self, most: int) -> None:
        """CodesageError when a document has more tokens than the encoder has positions, which are `most`."""
        if max(self.lengths) > most:
            raise CodesageError(
                f"a text has {max(self.lengths)} tokens, but the encoder has {most} positions: cut texts to max_tokens"
            )


@dataclass(frozen=True, slots=True)
class Requested:
    """The tokens of a flat batch whose last states are requested; the last block computes only these."""

    rows_M: Tensor  # int64, their positions among the T tokens, ascending
    borders: Tensor  # B+1 cumulative counts per document, int32, as varlen attention expects

    @staticmethod
    def of(rows_M: Tensor, layout: Layout) -> "Requested":
        """Build it from the rows, without waiting for the device."""
        return Requested(rows_M, torch.searchsorted(rows_M, layout.borders.long()).int())

    def runs(self, layout: Layout) -> list[tuple[int, int, int]]:
        """(1, queries, length) of each document, as _stacked_attention expects."""
        return [(1, queries, length) for queries, length in zip(self.borders.diff().tolist(), layout.lengths, strict=True)]


class Attention(nn.Module):
    """Multi-head self-attention over each document, scaled by 1/sqrt(head width)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.width = config.num_attention_heads, config.attention_width
        self.dropout = config.attention_dropout_prob
        self.c_attn = nn.Linear(config.hidden_size, 3 * config.attention_width)  # q | k | v
        self.c_proj = nn.Linear(config.attention_width, config.hidden_size)
        self.residual_dropout = nn.Dropout(config.residual_dropout_prob)

    def projected(self, x_TD: Tensor, rows_M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (M, H, K) of the tokens `rows_M` (None: all), keys and values (T, H, K) of all tokens."""
        if rows_M is None:
            q_THK, k_THK, v_THK = self.c_attn(x_TD).view(len(x_TD), 3, self.heads, -1).unbind(1)
            return q_THK, k_THK, v_THK
        width, weight, bias = self.width, self.c_attn.weight, self.c_attn.bias
        q_MHK = F.linear(x_TD[rows_M], weight[:width], bias[:width]).view(len(rows_M), self.heads, -1)
        k_THK, v_THK = F.linear(x_TD, weight[width:], bias[width:]).view(len(x_TD), 2, self.heads, -1).unbind(1)
        return q_MHK, k_THK, v_THK

    def forward(
        self, q_MHK: Tensor, k_THK: Tensor, v_THK: Tensor, layout: Layout, requested: Requested | None = None
    ) -> Tensor:
        """The attention output of each query over its document, (M, H, K)."""
        dropout = self.dropout if self.training else 0.0
        # check the dtype of q: under autocast the residual stream stays float32, like the norms
        if q_MHK.is_cuda and q_MHK.dtype in (torch.float16, torch.bfloat16) and _fits_flash(q_MHK.shape[2]):
            borders = layout.borders if requested is None else requested.borders
            return _varlen_attention(q_MHK, k_THK, v_THK, borders, layout, dropout)
        whole = [(documents, length, length) for documents, length in layout.runs]
        runs = whole if requested is None else requested.runs(layout)
        return _stacked_attention(q_MHK, k_THK, v_THK, runs, dropout)

    def merged(self, y_MHK: Tensor) -> Tensor:
        """The output of attention that is added to the residual stream, (M, D)."""
        return self.residual_dropout(self.c_proj(y_MHK.flatten(1)))


def _stacked_attention(
    q_MHK: Tensor, k_THK: Tensor, v_THK: Tensor, runs: Sequence[tuple[int, int, int]], dropout: float
) -> Tensor:
    """Attention over stacks of equal neighbours; `runs`: (documents, queries of each, length of each)."""
    queries, keys = ([run[0] * run[side] for run in runs] for side in (1, 2))
    parts = []
    for (documents, *shape), *qkv in zip(runs, q_MHK.split(queries), k_THK.split(keys), v_THK.split(keys), strict=True):
        if shape[0]:
            sizes = (shape[0], shape[1], shape[1])
            q, k, v = (x.unflatten(0, (documents, size)).transpose(1, 2) for x, size in zip(qkv, sizes, strict=True))
            if q.dtype == torch.bfloat16 and q.device.type == "cpu" and shape[1] <= _PLAIN_LENGTH and not dropout:
                y_BHQK = _plain_attention(q, k, v)
            else:
                y_BHQK = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
            parts.append(y_BHQK.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


def _plain_attention(q_BHQK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor) -> Tensor:
    """Attention that keeps its weights (B, H, Q, L) for the backward pass."""
    scores_BHQL = (q_BHQK * q_BHQK.shape[-1] ** -0.5) @ k_BHLK.transpose(-1, -2)
    return scores_BHQL.softmax(-1) @ v_BHLK


def _fits_flash(width: int) -> bool:
    """Whether flash attention takes heads of this width; other calls pad them."""
    return width % 8 == 0 and width <= 256


def _varlen_attention(
    q_MHK: Tensor, k_THK: Tensor, v_THK: Tensor, query_borders: Tensor, layout: Layout, dropout: float = 0.0
) -> Tensor:
    """Attention over documents of any lengths in one call; `query_borders`: int32 (B+1,) cumulative numbers of queries."""
    from torch.nn.attention.varlen import varlen_attn

    longest = max(layout.lengths)  # known on the host, so no layer waits for the device
    qkv, borders = (q_MHK, k_THK, v_THK), (query_borders, layout.borders, longest, longest)
    if dropout:  # varlen_attn does not expose dropout; torch's nested tensors call the operation in this way
        return torch.ops.aten._flash_attention_forward(*qkv, *borders, dropout, False, False)[0]
    # Positional arguments only: the option for causality was renamed after 2.10 (is_causal, then window_size); default: none.
    attended = varlen_attn(*qkv, *borders)
    return attended if isinstance(attended, Tensor) else attended[0]


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.hidden_size, config.intermediate_size)
        self.c_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.approximate = ACTIVATIONS[config.activation_function]

    def forward(self, x_MD: Tensor) -> Tensor:
        """(M, D) to (M, D)."""
        return self.c_proj(self.activations(x_MD))

    def activations(self, x_MD: Tensor) -> Tensor:
        """The outputs (M, N) of the N neurons between the two layers."""
        return F.gelu(self.c_fc(x_MD), approximate=self.approximate)


class Norm(nn.LayerNorm):
    """A layer norm in the dtype of its input, also where FSDP2 has gathered its weights in bf16."""

    def forward(self, input: Tensor) -> Tensor:
        """(T, D) to (T, D)."""
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class Block(nn.Module):
    """x += attn(ln_1(x)); x += mlp(ln_2(x)). Post-LN: x = ln_1(x); x += attn(x); x = ln_2(x); x += mlp(x)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ln_1 = Norm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = Norm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = FeedForward(config)
        self.mlp_dropout = nn.Dropout(config.residual_dropout_prob)
        self.norm_first = config.norm_first

    def forward(self, x_TD: Tensor, layout: Layout, requested: Requested | None = None) -> Tensor:
        """(T, D) to (T, D), or to (M, D) for the tokens in `requested`."""
        rows_M = None if requested is None else requested.rows_M
        x_MD, *qkv = self.before(x_TD, rows_M)
        return self.after(x_MD, self.attn(*qkv, layout, requested))

    # The parts before and after attention, which a block computes for each token separately.

    def before(self, x_TD: Tensor, rows_M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The residual stream (M, D) of the tokens `rows_M`; then queries, keys and values, as from Attention.projected."""
        normed_TD = self.ln_1(x_TD)
        x_TD = x_TD if self.norm_first else normed_TD
        return x_TD if rows_M is None else x_TD[rows_M], *self.attn.projected(normed_TD, rows_M)

    def after(self, x_MD: Tensor, y_MHK: Tensor) -> Tensor:
        """The residual stream (M, D) plus the outputs of attention and of the feed-forward layers."""
        x_MD = x_MD + self.attn.merged(y_MHK)
        normed_MD = self.ln_2(x_MD)
        return (x_MD if self.norm_first else normed_MD) + self.mlp_dropout(self.mlp(normed_MD))


class Blocks(nn.ModuleList):
    """The blocks of an encoder, in order."""

    def __iter__(self) -> Iterator[Block]:
        return cast(Iterator[Block], super().__iter__())


class Encoder(nn.Module):
    """Maps token ids to hidden states. The language-model head is the embedding, without bias or transform.

    A pooled vector is a mean of hidden states, times `projection` where the config has one (ours, not the paper's).

    Parameter names are those of the published state dict (`wte.weight`, `h.0.attn.c_attn.weight`, ...). Linear weights are
    stored as (out, in), like in nn.Linear.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.wpe = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout_prob)
        self.h = Blocks(Block(config) for _ in range(config.num_hidden_layers))
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False) if config.projection_dim else None
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, ids_T: Tensor, layout: Layout, *, depth: int | None = None, rows_M: Tensor | None = None) -> Tensor:
        """Last hidden states (T, D) of the flat token ids (T,) of documents described by `layout`.

        `depth`: use only this many blocks (None: all). Because of the residual stream, a shallow encoder approximates the
        full one. `rows_M`, int64 and ascending: return only the states (M, D) of these tokens. They are equal up to rounding,
        and most of the last block is not computed. Raises CodesageError when a document is longer than the learned positions.
        """
        layout.require_positions(self.config.max_position_embeddings)
        x_TD = self.embedding_dropout(self.wte(ids_T) + self.wpe(layout.positions_T))
        blocks = list(self.h[:depth])
        if rows_M is None or not len(rows_M) or not blocks:
            for block in blocks:
                x_TD = block(x_TD, layout)
            return self.ln_f(x_TD if rows_M is None else x_TD[rows_M])
        for block in blocks[:-1]:
            x_TD = block(x_TD, layout)
        return self.ln_f(blocks[-1](x_TD, layout, Requested.of(rows_M, layout)))

    @torch.no_grad()
    def scale_residuals(self, scale: float) -> None:
        """Multiply in place what every block adds to the residual stream. Near 0, the encoder is almost its embedding.

        This scales the weights and biases of both c_proj layers of each block.
        """
        for block in self.h if scale != 1 else ():
            for layer in (block.attn.c_proj, block.mlp.c_proj):
                layer.weight.mul_(scale)
                layer.bias.mul_(scale)

    def pool(self, hidden_TD: Tensor, layout: Layout) -> Tensor:
        """Mean of the hidden states of each document, end token included, projected: (B, vector width), unnormalised."""
        sums_BD = hidden_TD.new_zeros(len(layout.lengths), hidden_TD.shape[1]).index_add(0, layout.document_T, hidden_TD)
        return self.project(sums_BD / layout.borders.diff()[:, None])  # no copy that waits for the device

    def project(self, mean_BD: Tensor) -> Tensor:
        """Pooled vectors (B, vector width) from means of hidden states (B, D)."""
        return mean_BD if self.projection is None else self.projection(mean_BD)

    def embed(self, documents: Sequence[Sequence[int] | np.ndarray], *, depth: int | None = None) -> Tensor:
        """Pooled vectors (B, vector width) of documents given as token ids, in the given order; `depth` as in forward."""
        device = self.wte.weight.device
        order = sorted(range(len(documents)), key=lambda i: len(documents[i]))
        layout = Layout.of([len(documents[i]) for i in order], device)
        ids_T = torch.from_numpy(np.concatenate([np.asarray(documents[i], np.int64) for i in order]))
        pooled_BD = self.pool(self(sent(ids_T, device), layout, depth=depth), layout)
        return pooled_BD[sent(torch.tensor(order).argsort(), device)]
