"""Train a classifier as the paper does (section 4.2): a linear layer on the pooled vector, with the encoder frozen or not.

In: an encoder, token ids and labels in three parts. Out: macro F1 on the test part, for each seed. AdamW, linear decay, batches
of 32: rate 1e-3 and ten epochs for the frozen encoder, 1e-5 and five for all weights, two epochs for either where the task says
so; the epoch that is best on the validation part counts. Shapes: B rows of a batch, D width, C labels.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from codesage.classify.folds import Validated, macro_f1, stratified
from codesage.encoder.model import Encoder
from codesage.training.uncompiled import AdamW

_MICRO_TOKENS = 8192  # tokens of one forward
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a classifier is trained. `learns_encoder`: all weights, or the linear layer alone."""

    learns_encoder: bool
    learning_rate: float
    epochs: int
    batch: int = 32
    seeds: int = 3
    weight_decay: float = 0.01
    max_tokens: int = 1024


FROZEN = Protocol(learns_encoder=False, learning_rate=1e-3, epochs=10)
FINE_TUNED = Protocol(learns_encoder=True, learning_rate=1e-5, epochs=5)


def trained(
    encoder: Encoder, documents: Sequence[Sequence[int]], labels: Sequence[str], parts: Sequence[str], protocol: Protocol
) -> Validated:
    """The figures on the test part, one for each seed. `documents`: token ids that the encoder takes, end token included.

    `parts`: "train", "valid" or "test" for each document. Empty: five folds; one is the test part, the next one the validation
    part, and the others are the training part; one run for each fold and seed.
    """
    labels_N = np.asarray(labels)
    longest = min(protocol.max_tokens, encoder.config.max_position_embeddings)
    documents = [one if len(one) <= longest else [*one[: longest - 1], one[-1]] for one in documents]
    frozen_ND = None if protocol.learns_encoder else _all_vectors(encoder, documents)  # once for all seeds and folds
    folds_done = [
        _Run(encoder, documents, frozen_ND, protocol, seed).figures(labels_N, part_N)
        for seed in range(protocol.seeds)
        for part_N in _splits(labels, parts, seed)
    ]
    return Validated([], tuple(f1 for f1, _ in folds_done), tuple(accuracy for _, accuracy in folds_done))


def _splits(labels: Sequence[str], parts: Sequence[str], seed: int) -> list[np.ndarray]:
    if parts:
        return [np.asarray(parts)]
    fold_N = stratified(labels, FOLDS, seed=seed)
    return [np.where(fold_N == fold, "test", np.where(fold_N == (fold + 1) % FOLDS, "valid", "train")) for fold in range(FOLDS)]


@torch.no_grad()
def _all_vectors(encoder: Encoder, documents: Sequence[Sequence[int]]) -> Tensor:
    """Pooled vectors (N, D) of all documents, unnormalised."""
    order = sorted(range(len(documents)), key=lambda row: len(documents[row]))
    size = max(1, _MICRO_TOKENS // max(map(len, documents)))
    parts = [encoder.embed([documents[row] for row in order[start : start + size]]) for start in range(0, len(order), size)]
    return torch.cat(parts)[torch.tensor(order).argsort()]


class _Run:
    """One training run: a linear layer on an encoder of its own, or on the vectors `frozen_ND` of all documents."""

    def __init__(
        self, encoder: Encoder, documents: Sequence[Sequence[int]], frozen_ND: Tensor | None, protocol: Protocol, seed: int
    ) -> None:
        torch.manual_seed(seed)
        self.protocol, self.rng = protocol, np.random.default_rng(seed)
        self.encoder = deepcopy(encoder).requires_grad_(protocol.learns_encoder) if protocol.learns_encoder else encoder
        self.documents, self.frozen_ND = documents, frozen_ND

    def figures(self, labels_N: np.ndarray, part_N: np.ndarray) -> tuple[float, float]:
        """Train on the training part; macro F1 and accuracy on the test part, in 0..1, of the epoch that is best on "valid"."""
        train, valid, test = (np.flatnonzero(part_N == part) for part in ("train", "valid", "test"))
        self.names = sorted(set(labels_N[train].tolist()))
        self.layer = nn.Linear(self.encoder.config.hidden_size, len(self.names)).to(self.encoder.wte.weight.device)
        nn.init.normal_(self.layer.weight, std=self.encoder.config.initializer_range)
        nn.init.zeros_(self.layer.bias)
        target_N = torch.tensor([self.names.index(label) if label in self.names else -1 for label in labels_N.tolist()])
        learning = [*self.layer.parameters(), *(self.encoder.parameters() if self.protocol.learns_encoder else ())]
        optimizer = AdamW(learning, lr=self.protocol.learning_rate, weight_decay=self.protocol.weight_decay)
        steps = self.protocol.epochs * -(-len(train) // self.protocol.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        best, kept = -1.0, self._state()
        for _ in range(self.protocol.epochs):
            self._epoch(train, target_N, optimizer, schedule)
            score = self._scores(labels_N, valid)[0] if len(valid) else 0.0
            if score >= best:
                best, kept = score, deepcopy(self._state())
        self._restore(kept)
        return self._scores(labels_N, test)

    def _epoch(self, train: np.ndarray, target_N: Tensor, optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> None:
        self.encoder.train(self.protocol.learns_encoder)
        order = self.rng.permutation(train)
        for start in range(0, len(order), self.protocol.batch):
            rows = order[start : start + self.protocol.batch]
            loss = F.cross_entropy(self.layer(self._vectors(rows)), target_N[rows].to(self.layer.weight.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self.encoder.eval()

    def _vectors(self, rows: np.ndarray) -> Tensor:
        """Pooled vectors (B, D), unnormalised."""
        return self.encoder.embed([self.documents[row] for row in rows]) if self.frozen_ND is None else self.frozen_ND[rows]

    @torch.no_grad()
    def _scores(self, labels_N: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        blocks = [rows[start : start + self.protocol.batch] for start in range(0, len(rows), self.protocol.batch)]
        predicted = [self.names[best] for block in blocks for best in self.layer(self._vectors(block)).argmax(1).tolist()]
        truth = labels_N[rows].tolist()
        return macro_f1(predicted, truth), float(np.mean([one == other for one, other in zip(predicted, truth, strict=True)]))

    def _state(self) -> tuple[dict, dict]:
        return self.layer.state_dict(), self.encoder.state_dict() if self.protocol.learns_encoder else {}

    def _restore(self, state: tuple[dict, dict]) -> None:
        self.layer.load_state_dict(state[0])
        if self.protocol.learns_encoder:
            self.encoder.load_state_dict(state[1])
