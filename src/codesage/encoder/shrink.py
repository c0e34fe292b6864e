"""A smaller encoder from a larger one: some of its layers, attention heads, neurons and positions, and narrower vectors.

In: a trained Encoder, and token ids of texts and codes where heads or neurons are left out, or vectors become narrower. Out:
an Encoder with copies of its weights, as a start for training. Layers are left out as in DistilBERT (Sanh et al. 2019, section
3). Attention heads are left out one by one, each time the one that the others replace best. In feed-forward layers, the neurons
that add least to the output are left out. What stays is fitted again to the same output, by least squares (reconstruction as in
ThiNet, Luo et al. 2017, section 3.2). Narrower vectors are the whole ones in the basis of their principal components, without
the last ones, so similarities hardly change. The token table, the norms and the width of the layers stay. Shapes: T tokens, D
width, I inputs of a linear layer, K inputs kept, N documents, V width of the vectors.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codesage.encoder.config import Config
from codesage.encoder.model import Attention, Encoder, FeedForward, Layout
from codesage.errors import CodesageError

_AT_ONCE = 64  # documents whose vectors are computed at a time
_RIDGE = 1e-6  # of an input's mean variance; weights that the tokens do not determine stay as they are


def shrink(
    encoder: Encoder,
    *,
    layers: Sequence[int] | None = None,
    positions: int = 0,
    heads: int = 0,
    neurons: int = 0,
    width: int = 0,
    documents: Sequence[Sequence[int]] = (),
) -> Encoder:
    """An encoder in eval mode with copies of the weights of `encoder`.

    `layers`: those to keep, counted from 0 (None: all). `positions`: keep the first ones (0: all). `heads` and `neurons`: keep
    so many in each layer (0: all), chosen by their outputs for `documents`, lists of token ids. `width`: that of the vectors
    (0: as it is), with the principal components of the vectors of `documents`. Raises CodesageError when `layers` is empty, is
    not ascending or names a layer that the encoder does not have, when it has fewer heads or neurons or narrower vectors, or
    when `documents` are too few.
    """
    config = encoder.config
    count = config.num_hidden_layers
    kept = list(range(count) if layers is None else layers)
    if not kept or kept != sorted(set(kept)) or not 0 <= kept[0] <= kept[-1] < count:
        shown = ",".join(str(layer + 1) for layer in kept) or "none"
        raise CodesageError(f"layers to keep are {shown}, expected some of 1 to {count} in ascending order")
    length = min(positions or config.max_position_embeddings, config.max_position_embeddings)
    smaller = Encoder(replace(config, num_hidden_layers=len(kept), max_position_embeddings=length)).eval()
    smaller.wte.load_state_dict(encoder.wte.state_dict())
    smaller.wpe.load_state_dict({"weight": encoder.wpe.weight[:length]})
    smaller.ln_f.load_state_dict(encoder.ln_f.state_dict())
    for block, layer in zip(smaller.h, kept, strict=True):
        block.load_state_dict(encoder.h[layer].state_dict())
    if smaller.projection is not None and encoder.projection is not None:
        smaller.projection.load_state_dict(encoder.projection.state_dict())
    smaller = _pruned(smaller, heads or config.num_attention_heads, neurons or config.intermediate_size, documents)
    return _narrowed(smaller, width or config.vector_width, documents)


@torch.no_grad()
def _pruned(encoder: Encoder, heads: int, neurons: int, documents: Sequence[Sequence[int]]) -> Encoder:
    """`encoder`, changed in place. Each layer sees what the smaller layers before it give for `documents`."""
    config = encoder.config
    for name, kept, there in (("heads", heads, config.num_attention_heads), ("neurons", neurons, config.intermediate_size)):
        if kept > there:
            raise CodesageError(f"{name} to keep are {kept}, expected at most the {there} of each layer")
    smaller = replace(config, num_attention_heads=heads, intermediate_size=neurons)
    if smaller == config:
        return encoder
    documents = _by_length(documents, config)
    needed = max(smaller.attention_width, neurons)
    if (total := sum(map(len, documents))) < needed:
        raise CodesageError(f"{total} tokens are too few to choose heads or neurons: give at least {needed}")
    layout = Layout.of([len(document) for document in documents])
    x_TD = encoder.wte(torch.tensor([token for document in documents for token in document])) + encoder.wpe(layout.positions_T)
    for block in encoder.h:
        x_TD, *qkv = block.before(x_TD)
        attended_TI = block.attn(*qkv, layout).flatten(1)
        kept_K, output = _fitted(block.attn.c_proj, attended_TI, size=config.head_dim, count=heads)
        block.attn = _fewer_heads(block.attn, kept_K, output, smaller)
        x_TD = x_TD + output(attended_TI[:, kept_K])
        normed_TD = block.ln_2(x_TD)
        active_TI = block.mlp.activations(normed_TD)
        kept_K, output = _fitted(block.mlp.c_proj, active_TI, size=1, count=neurons)
        block.mlp = _fewer_neurons(block.mlp, kept_K, output, smaller)
        x_TD = (x_TD if block.norm_first else normed_TD) + output(active_TI[:, kept_K])
    encoder.config = smaller
    return encoder


@torch.no_grad()
def _narrowed(encoder: Encoder, width: int, documents: Sequence[Sequence[int]]) -> Encoder:
    """`encoder`, changed in place: its vectors keep the `width` directions in which those of `documents` are largest."""
    config = encoder.config
    if width > config.vector_width:
        raise CodesageError(f"width of the vectors is {width}, expected at most {config.vector_width}")
    if width == config.vector_width:
        return encoder
    documents = _by_length(documents, config)
    if len(documents) < width:
        raise CodesageError(f"{len(documents)} texts are too few for vectors of width {width}: give at least as many")
    parts = [encoder.embed(documents[start : start + _AT_ONCE]) for start in range(0, len(documents), _AT_ONCE)]
    vectors_NV = F.normalize(torch.cat(parts).double(), dim=1)
    basis_VV = torch.linalg.eigh(vectors_NV.T @ vectors_NV).eigenvectors.flip(1)  # eigh sorts by rising eigenvalues
    weight_VD = basis_VV[:, :width].T.to(parts[0].dtype)
    if encoder.projection is not None:
        weight_VD = weight_VD @ encoder.projection.weight
    encoder.projection = nn.Linear(config.hidden_size, width, bias=False)
    encoder.projection.weight.copy_(weight_VD)
    encoder.config = replace(config, projection_dim=width)
    return encoder.eval()


def _by_length(documents: Sequence[Sequence[int]], config: Config) -> list[Sequence[int]]:
    """Documents that are not empty, cut at the positions of the encoder, the shortest first."""
    return sorted((document[: config.max_position_embeddings] for document in documents if document), key=len)


def _fitted(layer: nn.Linear, inputs_TI: Tensor, *, size: int, count: int) -> tuple[Tensor, nn.Linear]:
    """The inputs K that matter most for the outputs of `layer`, and a layer of these, fitted to the outputs of all.

    Inputs are kept in `count` groups of `size` neighbours. Heads are left out one by one, each time the one that the others
    replace best. Single neurons are too many for that: those that add most stay.
    """
    mean_I, weight_DI = inputs_TI.mean(0), layer.weight
    centred_TI = inputs_TI - mean_I
    covariance_II, weight_ID = (centred_TI.T @ centred_TI).double(), weight_DI.T.double()
    if size == 1:
        kept_K = (covariance_II.diagonal() * weight_ID.pow(2).sum(1)).topk(count).indices.sort().values
    else:
        kept = list(range(len(covariance_II) // size))
        while len(kept) > count:
            fewer = [[group for group in kept if group != left_out] for left_out in kept]
            kept = max(fewer, key=lambda some: _explained(covariance_II, weight_ID, _inputs_of(some, size)))
        kept_K = _inputs_of(kept, size)
    change_KD = _change(covariance_II, weight_ID, kept_K).to(weight_DI.dtype)
    fitted = nn.Linear(len(kept_K), len(weight_DI))
    fitted.weight.copy_(weight_DI[:, kept_K] + change_KD.T)
    fitted.bias.copy_(layer.bias + weight_DI @ mean_I - fitted.weight @ mean_I[kept_K])
    return kept_K, fitted


def _inputs_of(groups: Sequence[int], size: int) -> Tensor:
    return torch.cat([torch.arange(group * size, (group + 1) * size) for group in groups])


def _change(covariance_II: Tensor, weight_ID: Tensor, kept_K: Tensor) -> Tensor:
    """What least squares add to the weights (K, D) of the inputs kept, so that they make up for those left out."""
    gram_KK = covariance_II[kept_K][:, kept_K]
    gram_KK += _RIDGE * gram_KK.diagonal().mean().clamp_min(1e-30) * torch.eye(len(kept_K))
    lost_ID = weight_ID.index_fill(0, kept_K, 0)
    return torch.linalg.solve(gram_KK, covariance_II[kept_K] @ lost_ID)


def _explained(covariance_II: Tensor, weight_ID: Tensor, kept_K: Tensor) -> float:
    """Minus the squared error of the outputs when only the inputs kept are there, with fitted weights."""
    error_ID = weight_ID.index_fill(0, kept_K, 0).index_add(0, kept_K, -_change(covariance_II, weight_ID, kept_K))
    return -(error_ID * (covariance_II @ error_ID)).sum().item()


def _fewer_heads(layer: Attention, kept_K: Tensor, output: nn.Linear, config: Config) -> Attention:
    smaller = Attention(config).eval()
    rows = torch.cat([kept_K + side * layer.width for side in range(3)])
    smaller.c_attn.load_state_dict({"weight": layer.c_attn.weight[rows], "bias": layer.c_attn.bias[rows]})
    smaller.c_proj.load_state_dict(output.state_dict())
    return smaller


def _fewer_neurons(layers: FeedForward, kept_K: Tensor, output: nn.Linear, config: Config) -> FeedForward:
    smaller = FeedForward(config).eval()
    smaller.c_fc.load_state_dict({"weight": layers.c_fc.weight[kept_K], "bias": layers.c_fc.bias[kept_K]})
    smaller.c_proj.load_state_dict(output.state_dict())
    return smaller
