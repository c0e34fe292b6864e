"""An encoder that reads longer texts, from one that reads shorter ones: more rows in the table of positions.

In: a trained Encoder. Out: an Encoder with copies of its weights and new rows behind those of its positions, as a start for
training with longer code. New rows repeat the model's own ones, as in Longformer (Beltagy et al. 2020, section 5). Where
another encoder is given, such as the one that the model started from, they are its rows, moved by what training changed in the
mean of the last rows. Texts that the model could read before keep their vectors. Shapes: L positions, D width.
"""

from dataclasses import replace

import torch
from torch import Tensor

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError

_LAST = 4  # the last quarter of the model's rows shows what training changed


def lengthen(encoder: Encoder, positions: int, *, like: Encoder | None = None) -> Encoder:
    """An encoder in eval mode with `positions` positions. `like`: an encoder of the same width that has as many.

    Raises CodesageError when `positions` are not more than those of `encoder`, and when `like` has fewer or another width.
    """
    config = encoder.config
    if positions <= config.max_position_embeddings:
        raise CodesageError(f"positions are {positions}, expected more than the {config.max_position_embeddings} of the model")
    if like is not None and like.config.hidden_size != config.hidden_size:
        raise CodesageError(f"the other model has width {like.config.hidden_size}, this one {config.hidden_size}")
    if like is not None and like.config.max_position_embeddings < positions:
        raise CodesageError(f"the other model has {like.config.max_position_embeddings} positions, expected {positions}")
    own_LD = encoder.wpe.weight.detach()
    rows_LD = _repeated(own_LD, positions) if like is None else _continued(own_LD, like.wpe.weight.detach()[:positions])
    longer = Encoder(replace(config, max_position_embeddings=positions)).eval()
    longer.load_state_dict(encoder.state_dict() | {"wpe.weight": rows_LD})
    return longer


def _repeated(own_LD: Tensor, positions: int) -> Tensor:
    return own_LD[torch.arange(positions) % len(own_LD)]


def _continued(own_LD: Tensor, other_LD: Tensor) -> Tensor:
    first = len(own_LD) - -(-len(own_LD) // _LAST)
    moved_D = (own_LD - other_LD[: len(own_LD)])[first:].mean(0)
    return torch.cat([own_LD, other_LD[len(own_LD) :] + moved_D])
