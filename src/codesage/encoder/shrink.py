"""A smaller encoder from a larger one: some of its layers, attention heads, neurons and positions.

In: a trained Encoder, and token ids of texts and codes where heads or neurons are left out. Out: an Encoder with copies of
its weights, as a start for training. Layers are left out as in DistilBERT (Sanh et al. 2019, section 3). Of the attention heads
and of the neurons in feed-forward layers, those that add least to the output are left out. The others are fitted again to the
same output, by least squares (reconstruction as in ThiNet, Luo et al. 2017, section 3.2). The token table, the norms and the
width stay. Shapes: T tokens, D width, I inputs of a linear layer, K inputs kept.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from codesage.encoder.config import Config
from codesage.encoder.model import Attention, Encoder, FeedForward, Layout
from codesage.errors import CodesageError

_RIDGE = 1e-4  # of an input's mean variance; weights that the tokens do not determine stay as they are


def shrink(
    encoder: Encoder,
    *,
    layers: Sequence[int] | None = None,
    positions: int = 0,
    heads: int = 0,
    neurons: int = 0,
    documents: Sequence[Sequence[int]] = (),
) -> Encoder:
    """An encoder in eval mode with copies of the weights of `encoder`.

    `layers`: those to keep, counted from 0 (None: all). `positions`: keep the first ones (0: all). `heads` and `neurons`: keep
    so many in each layer (0: all), chosen by their outputs for `documents`, lists of token ids. Raises CodesageError when
    `layers` is empty, is not ascending or names a layer that the encoder does not have, when it has fewer heads or neurons,
    or when `documents` have too few tokens to choose by.
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
    return _pruned(smaller, heads or config.num_attention_heads, neurons or config.intermediate_size, documents)


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
    documents = sorted((document[: config.max_position_embeddings] for document in documents if document), key=len)
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


def _fitted(layer: nn.Linear, inputs_TI: Tensor, *, size: int, count: int) -> tuple[Tensor, nn.Linear]:
    """The inputs K that add most to the outputs of `layer`, and a layer of these, fitted to the outputs of all.

    Inputs are kept in `count` groups of `size` neighbours: heads, or single neurons.
    """
    mean_I, weight_DI = inputs_TI.mean(0), layer.weight
    centred_TI = inputs_TI - mean_I
    covariance_II = centred_TI.T @ centred_TI
    groups = covariance_II.unflatten(0, (-1, size)).unflatten(2, (-1, size)).diagonal(dim1=0, dim2=2).movedim(-1, 0)
    weights = weight_DI.unflatten(1, (-1, size)).movedim(1, 0)
    effect = torch.einsum("gdi,gij,gdj->g", weights, groups, weights)
    kept_K = effect.topk(count).indices.sort().values[:, None].mul(size).add(torch.arange(size)).flatten()
    gram_KK = covariance_II[kept_K][:, kept_K].double()
    gram_KK += _RIDGE * gram_KK.diagonal().mean().clamp_min(1e-30) * torch.eye(len(kept_K))
    lost_TD = centred_TI @ weight_DI.T - centred_TI[:, kept_K] @ weight_DI[:, kept_K].T
    change_KD = torch.linalg.solve(gram_KK, (centred_TI[:, kept_K].T @ lost_TD).double())
    fitted = nn.Linear(len(kept_K), len(weight_DI))
    fitted.weight.copy_(weight_DI[:, kept_K] + change_KD.T)
    fitted.bias.copy_(layer.bias + weight_DI @ mean_I - fitted.weight @ mean_I[kept_K])
    return kept_K, fitted


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
