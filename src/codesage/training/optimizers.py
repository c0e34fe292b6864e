"""Optimizers by name: which parameters of an encoder are moved how.

In: an encoder and the settings of a run. Out: one optimizer, every group of it with a "multiple" of the run's learning
rate. "adamw": fused AdamW, weight decay on matrices only, the embedding at a rate of its own. "muon": the matrices of
the blocks take momentum whose update is made orthogonal (Newton-Schulz), everything else AdamW.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn

from codesage.errors import CodesageError
from codesage.training import precision, processes
from codesage.training.muon import Muon

if TYPE_CHECKING:
    from codesage.training.schedule import Settings

OPTIMIZERS = ("adamw", "muon")


def build(encoder: nn.Module, settings: "Settings") -> torch.optim.Optimizer:
    """The optimizer that `settings.optimizer` names. CodesageError when it cannot be sharded."""
    named = dict(encoder.named_parameters())
    table, positions = named.pop("wte.weight"), named.pop("wpe.weight")
    matrices = [parameter for parameter in named.values() if parameter.ndim > 1]
    vectors = [parameter for parameter in named.values() if parameter.ndim == 1]
    if settings.optimizer == "adamw":
        return _adamw([table], [*matrices, positions], vectors, settings)
    if processes.is_sharded(encoder):
        raise CodesageError("Muon needs whole matrices, which a sharded encoder has not: use adamw, or do not shard")
    dtype = precision.fast_dtype(settings.precision, table.device)
    muon = Muon([{"params": matrices, "multiple": settings.muon_rate}], lr=settings.learning_rate,
                weight_decay=settings.weight_decay, dtype=dtype)  # fmt: skip
    return Together([muon, _adamw([table], [positions], vectors, settings)])


def _adamw(table: list, matrices: list, vectors: list, settings: "Settings") -> torch.optim.AdamW:
    groups = [
        {"params": table, "weight_decay": 0.0, "multiple": settings.embedding_rate},
        {"params": matrices, "weight_decay": settings.weight_decay, "multiple": 1.0},
        {"params": vectors, "weight_decay": 0.0, "multiple": 1.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True)


class Together(torch.optim.Optimizer):
    """Several optimizers over disjoint parameters that step as one, with one list of groups and one state."""

    def __init__(self, parts: Iterable[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            part.state = self.state  # groups are shared too: a rate set or a moment restored here is the part's

    def step(self, closure=None) -> None:
        """One step of every part."""
        for part in self.parts:
            part.step()
