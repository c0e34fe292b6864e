"""The mean of two encoders of one shape: one that was trained, and the one that its training started from.

In: two encoders. Out: an encoder with the weighted mean of their weights. After a fine-tuning the mean of the weights before
and after often keeps what the start could do, and most of what was learned (Wortsman et al. 2022, Robust fine-tuning of
zero-shot models, equation 1).
"""

from dataclasses import asdict, replace

import torch

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError


@torch.no_grad()
def average(encoder: Encoder, other: Encoder, *, share: float) -> Encoder:
    """An encoder in eval mode whose weights are `share` times those of `encoder` plus 1 - `share` times those of `other`.

    Raises CodesageError when `share` is not within 0 and 1, or when the encoders have different shapes.
    """
    if not 0 <= share <= 1:
        raise CodesageError(f"share is {share}, expected 0 to 1")
    ours, theirs = (asdict(replace(one.config.without_dropout(), initializer_range=1.0)) for one in (encoder, other))
    for name, value in ours.items():
        if value != theirs[name]:
            both = f"{value} and {theirs[name]}"
            raise CodesageError(f"the models differ in {name}, {both}: only models of one shape have a mean")
    weights = other.state_dict()
    mean = Encoder(encoder.config).eval()
    mean.load_state_dict({name: torch.lerp(weights[name], weight, share) for name, weight in encoder.state_dict().items()})
    return mean
