"""A smaller encoder from a larger one: some of its layers, neurons and positions.

In: a trained Encoder, and token ids of texts and codes where neurons are left out. Out: an Encoder with copies of its weights,
as a start for training. Layers are left out as in DistilBERT (Sanh et al. 2019, section 3). Neurons of the feed-forward layers
that add least to the output are left out, and those that stay are fitted again to the same output, by least squares
(reconstruction as in ThiNet, Luo et al. 2017, section 3.2). The token table, the norms and the width stay. Shapes: T tokens, D
width, N neurons, K neurons kept.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from codesage.encoder.config import Config
from codesage.encoder.model import Encoder, FeedForward, Layout
from codesage.errors import CodesageError

_RIDGE = 1e-4  # of a neuron's mean variance; weights that the tokens do not determine stay as they are


def shrink(
    encoder: Encoder,
    *,
    layers: Sequence[int] | None = None,
    positions: int = 0,
    neurons: int = 0,
    documents: Sequence[Sequence[int]] = (),
) -> Encoder:
    """An encoder in eval mode with copies of the weights of `encoder`.

    `layers`: those to keep, counted from 0 (None: all). `positions`: keep the first ones (0: all). `neurons`: keep so many in
    each feed-forward layer (0: all), chosen by their outputs for `documents`, lists of token ids. Raises CodesageError when
    `layers` is empty, is not ascending or names a layer that the encoder does not have, when `neurons` are more than the
    encoder has, or when `documents` have fewer tokens than `neurons`.
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
    return _with_fewer_neurons(smaller, neurons, documents) if neurons else smaller


@torch.no_grad()
def _with_fewer_neurons(encoder: Encoder, neurons: int, documents: Sequence[Sequence[int]]) -> Encoder:
    """`encoder`, changed in place. Each layer sees what the smaller layers before it give for `documents`."""
    config = encoder.config
    if neurons > config.intermediate_size:
        raise CodesageError(f"neurons to keep are {neurons}, expected at most the {config.intermediate_size} of each layer")
    documents = sorted((document[: config.max_position_embeddings] for document in documents if document), key=len)
    total = sum(map(len, documents))
    if total < neurons:
        raise CodesageError(f"{total} tokens are not enough to choose {neurons} neurons: give more documents")
    layout = Layout.of([len(document) for document in documents])
    x_TD = encoder.wte(torch.tensor([token for document in documents for token in document])) + encoder.wpe(layout.positions_T)
    encoder.config = replace(config, intermediate_size=neurons)
    for block in encoder.h:
        x_TD, *qkv = block.before(x_TD)
        x_TD = x_TD + block.attn.merged(block.attn(*qkv, layout))
        normed_TD = block.ln_2(x_TD)
        block.mlp = _fitted(block.mlp, normed_TD, encoder.config)
        x_TD = (x_TD if block.norm_first else normed_TD) + block.mlp(normed_TD)
    return encoder


def _fitted(layers: FeedForward, x_TD: Tensor, config: Config) -> FeedForward:
    """Feed-forward layers with the neurons that add most to the output for `x_TD`, fitted to the output of all of them."""
    active_TN = layers.activations(x_TD)
    mean_N, weight_DN = active_TN.mean(0), layers.c_proj.weight
    effect_N = active_TN.std(0) * weight_DN.norm(dim=0)
    kept_K = effect_N.topk(config.intermediate_size).indices.sort().values
    centred_TN = active_TN - mean_N
    centred_TK = centred_TN[:, kept_K]
    gram_KK = (centred_TK.T @ centred_TK).double()
    gram_KK += _RIDGE * gram_KK.diagonal().mean().clamp_min(1e-30) * torch.eye(len(kept_K))
    lost_TD = centred_TN @ weight_DN.T - centred_TK @ weight_DN[:, kept_K].T
    change_KD = torch.linalg.solve(gram_KK, (centred_TK.T @ lost_TD).double())
    fitted_DK = weight_DN[:, kept_K] + change_KD.T.to(weight_DN.dtype)
    smaller = FeedForward(config).eval()
    smaller.load_state_dict(
        {
            "c_fc.weight": layers.c_fc.weight[kept_K],
            "c_fc.bias": layers.c_fc.bias[kept_K],
            "c_proj.weight": fitted_DK,
            "c_proj.bias": layers.c_proj.bias + weight_DN @ mean_N - fitted_DK @ mean_N[kept_K],
        }
    )
    return smaller
