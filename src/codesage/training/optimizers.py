"""Optimizers by name: how each parameter of an encoder is updated.

In: an encoder and the settings of a run. Out: one optimizer. Each of its groups has a "multiple" of the run's learning rate.
"adamw": fused AdamW, weight decay on matrices only and not on the token embedding, which has a rate of its own. "muon": Muon
(momentum with orthogonalised updates) for the matrices of the blocks and the projection, AdamW for everything else.
"""

from collections.abc import Iterable

from torch import nn

from codesage.errors import CodesageError
from codesage.training import precision, processes
from codesage.training.muon import Muon
from codesage.training.schedule import Settings
from codesage.training.uncompiled import AdamW, Uncompiled


def build(encoder: nn.Module, settings: Settings) -> Uncompiled:
    """Build the optimizer `settings.optimizer`. CodesageError when it does not support a sharded encoder."""
    named = dict(encoder.named_parameters())
    table, positions = named.pop("wte.weight"), named.pop("wpe.weight")
    matrices = [parameter for parameter in named.values() if parameter.ndim > 1]
    vectors = [parameter for parameter in named.values() if parameter.ndim == 1]
    if settings.optimizer == "adamw":
        return _adamw([table], [*matrices, positions], vectors, settings)
    if processes.is_sharded(encoder):
        raise CodesageError("Muon does not work with a sharded encoder: use adamw, or do not shard")
    dtype = precision.fast_dtype(settings.precision, table.device)
    muon = Muon(
        [{"params": matrices, "multiple": settings.muon_rate}],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        dtype=dtype,
    )
    return Together([muon, _adamw([table], [positions], vectors, settings)])


def _adamw(table: list, matrices: list, vectors: list, settings: Settings) -> AdamW:
    groups = [
        {"params": table, "weight_decay": 0.0, "multiple": settings.embedding_rate},
        {"params": matrices, "weight_decay": settings.weight_decay, "multiple": 1.0},
        {"params": vectors, "weight_decay": 0.0, "multiple": 1.0},
    ]
    return AdamW(groups, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2), fused=True)


class Together(Uncompiled):
    """Several optimizers over disjoint parameters that act as one, with a shared list of groups and a shared state."""

    def __init__(self, parts: Iterable[Uncompiled]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            part.state = self.state  # groups are shared too, so rates set and moments restored here reach the part

    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] (no closures)
        """Step all parts."""
        for part in self.parts:
            part.found_inf = self.found_inf
            part.step()
