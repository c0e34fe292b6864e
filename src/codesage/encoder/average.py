"""The mean of encoders of one shape, such as several trainings from one start, or the weights after and before a training.

In: encoders. Out: an encoder with the weighted mean of their weights. The mean of trainings that differ in their data order is
often better than each of them (Wortsman et al. 2022, Model soups). After a fine-tuning, the mean of the weights before and
after often keeps what the start could do, and most of what was learned (Wortsman et al. 2022, Robust fine-tuning of zero-shot
models, equation 1).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from codesage.encoder.model import Encoder
from codesage.errors import CodesageError


@torch.no_grad()
def average(encoder: Encoder, others: Sequence[Encoder], *, share: float) -> Encoder:
    """An encoder in eval mode: `share` times the weights of `encoder`, plus 1 - `share` times the mean of those of `others`.

    Raises CodesageError when `share` is not within 0 and 1, or when the encoders have different shapes.
    """
    if not 0 <= share <= 1:
        raise CodesageError(f"share is {share}, expected 0 to 1")
    for other in others:
        _check_shapes(encoder, other)
    weights = [other.state_dict() for other in others]
    mean = Encoder(encoder.config).eval()
    mean.load_state_dict(
        {
            name: torch.lerp(torch.stack([other[name] for other in weights]).mean(0), weight, share)
            for name, weight in encoder.state_dict().items()
        }
    )
    return mean


def _check_shapes(encoder: Encoder, other: Encoder) -> None:
    """CodesageError when the encoders differ in shape; how they were trained is no part of it."""
    ours, theirs = (asdict(replace(one.config.without_dropout(), initializer_range=1.0)) for one in (encoder, other))
    for name, value in ours.items():
        if value != theirs[name]:
            both = f"{value} and {theirs[name]}"
            raise CodesageError(f"the models differ in {name}, {both}: only models of one shape have a mean")
