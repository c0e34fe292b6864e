"""A smaller encoder from a larger one: some of its layers, and the first of its positions.

In: a trained Encoder. Out: an Encoder with copies of its weights, as a start for training, as DistilBERT's (Sanh et al. 2019,
section 3). The token table, the final norm and the width stay, so the tokenizer stays too.
"""

from collections.abc import Sequence
from dataclasses import replace

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError


def shrink(encoder: Encoder, *, layers: Sequence[int] | None = None, positions: int = 0) -> Encoder:
    """An encoder in eval mode with only these layers, counted from 0 (None: all), and the first `positions` (0: all).

    Raises CodesageError when `layers` is empty, is not ascending, or names a layer that the encoder does not have.
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
    return smaller
