"""Train a classifier as the paper does (section 4.2): a linear layer on the pooled vector, with the encoder frozen or not.

In: an encoder, token ids and labels, in three parts or not. Out: predictions of the test part for each seed, or a trained
encoder with its head. AdamW, linear decay, batches of 32: rate 1e-3 and ten epochs for the frozen encoder, 1e-5 and five for
all weights, two epochs for either where the task says so. Where there is a validation part, the best epoch on it counts, else
the last one. Shapes: N rows, B rows of a batch, D width, C labels.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from codesage.classify.folds import FOLDS, Validated, macro_f1, stratified
from codesage.classify.head import Head
from codesage.encoder.model import Encoder
from codesage.errors import CodesageError
from codesage.training import retrieval
from codesage.training.uncompiled import AdamW

_MICRO_TOKENS = 8192  # tokens of one forward
_DEVIATION = 0.02  # of the first weights of a layer on given vectors, as in an encoder


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
    encoder: Encoder,
    documents: Sequence[Sequence[int]],
    labels: Sequence[str],
    parts: Sequence[str],
    code_N: Sequence[int],
    protocol: Protocol,
) -> Validated:
    """Predictions of the test part, for each seed. `documents`: token ids that the encoder takes, end token included.

    `parts`: "train", "valid" or "test" for each document. Empty: five folds; one is the test part, the next one the validation
    part, and the others are the training part; one run for each fold and seed. `code_N`: as in `folds`.
    """
    documents = _cut(encoder, documents, protocol)
    if not protocol.learns_encoder:
        return trained_on(_all_vectors(encoder, documents), labels, parts, code_N, protocol)  # once for all
    return _runs(lambda: _Learning(encoder, documents), labels, parts, code_N, protocol)


def trained_on(
    vectors_ND: Tensor, labels: Sequence[str], parts: Sequence[str], code_N: Sequence[int], protocol: Protocol
) -> Validated:
    """Like `trained`, for a linear layer on the vectors of all documents, of any encoder."""
    given = _Given(vectors_ND)
    return _runs(lambda: given, labels, parts, code_N, protocol)


def _runs(
    source: "Callable[[], _Given | _Learning]",
    labels: Sequence[str],
    parts: Sequence[str],
    code_N: Sequence[int],
    protocol: Protocol,
) -> Validated:
    labels_N, runs = np.asarray(labels), []
    for seed in range(protocol.seeds):
        for part_N in _splits(labels, parts, code_N, seed):
            train, valid, test = (np.flatnonzero(part_N == part) for part in ("train", "valid", "test"))
            run = _Run(source(), protocol, seed)
            run.learn(labels_N, train, valid)
            runs.append((test, run.predicted(test)))
    return Validated(labels, runs)


def cross_validated(
    encoder: Encoder,
    documents: Sequence[Sequence[int]],
    labels: Sequence[str],
    code_N: Sequence[int],
    protocol: Protocol,
    extent: "Extent",
) -> Validated:
    """Predict every document by a classifier that is trained on the other folds as `fine_tuned` trains on all documents.

    `code_N`: as in `folds`.
    """
    documents, labels_N, runs = _cut(encoder, documents, protocol), np.asarray(labels), []
    fold_N = stratified(labels, extent.folds, code_N, seed=extent.seed)
    for fold in range(extent.folds):
        unseen = np.flatnonzero(fold_N == fold)
        say = partial(_prefixed, extent.say, f"fold {fold + 1} of {extent.folds}")
        run = _Run(_Learning(encoder, documents), protocol, extent.seed, say)
        run.learn(labels_N, np.flatnonzero(fold_N != fold))
        runs.append((unseen, run.predicted(unseen)))
    return Validated(labels, runs)


def fine_tuned(
    encoder: Encoder, documents: Sequence[Sequence[int]], labels: Sequence[str], protocol: Protocol, extent: "Extent"
) -> tuple[Encoder, Head]:
    """A copy of the encoder with all its weights trained on all documents, and the head that takes its pooled vectors.

    CodesageError when there are not two labels, or the loss is not finite.
    """
    learning = _Learning(encoder, _cut(encoder, documents, protocol))
    run = _Run(learning, protocol, extent.seed, partial(_prefixed, extent.say, "all rows"))
    run.learn(np.asarray(labels), np.arange(len(labels)))
    if not all(bool(own.isfinite().all()) for own in run.model.parameters()) or not run.is_finite(np.arange(1)):
        raise CodesageError("the trained weights give no finite vectors: lower the learning rate")
    return learning.encoder, run.head()


def pooled(encoder: Encoder, documents: Sequence[Sequence[int]]) -> np.ndarray:
    """The vectors that a head of `fine_tuned` takes: float32 (N, D), unnormalised."""
    return _all_vectors(encoder, _cut(encoder, documents, FINE_TUNED)).cpu().numpy()


@dataclass(frozen=True, slots=True)
class Extent:
    """How often to train, and what is told meanwhile: `say` gets a line for each epoch."""

    folds: int = FOLDS
    seed: int = 0
    say: Callable[[str], None] = lambda line: None


def _prefixed(say: Callable[[str], None], prefix: str, line: str) -> None:
    say(f"{prefix}, {line}")


def _cut(encoder: Encoder, documents: Sequence[Sequence[int]], protocol: Protocol) -> list[Sequence[int]]:
    longest = min(protocol.max_tokens, encoder.config.max_position_embeddings)
    return [one if len(one) <= longest else [*one[: longest - 1], one[-1]] for one in documents]


def _splits(labels: Sequence[str], parts: Sequence[str], code_N: Sequence[int], seed: int) -> list[np.ndarray]:
    if parts:
        return [np.asarray(parts)]
    fold_N = stratified(labels, FOLDS, code_N, seed=seed)
    return [np.where(fold_N == fold, "test", np.where(fold_N == (fold + 1) % FOLDS, "valid", "train")) for fold in range(FOLDS)]


@torch.no_grad()
def _all_vectors(encoder: Encoder, documents: Sequence[Sequence[int]]) -> Tensor:
    """Pooled vectors (N, D) of all documents, unnormalised."""
    _check_weights(encoder)
    return retrieval.vectors(encoder, documents, tokens=_MICRO_TOKENS)


def _check_weights(encoder: Encoder) -> None:
    """CodesageError when a weight is not finite: no learning rate would help."""
    if not all(bool(own.isfinite().all()) for own in encoder.parameters()):
        raise CodesageError("the model has weights that are not finite: train or export it again")


class _Given(nn.Module):
    """The vectors of all documents, which stay as they are."""

    def __init__(self, vectors_ND: Tensor) -> None:
        super().__init__()
        self.vectors_ND, self.width, self.deviation = vectors_ND, vectors_ND.shape[1], _DEVIATION

    def forward(self, rows: np.ndarray) -> Tensor:
        """(B, D)."""
        return self.vectors_ND[rows]

    def pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows in pieces that are computed at a time."""
        return [rows]

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self.vectors_ND.device


class _Learning(nn.Module):
    """Pooled vectors of documents, unnormalised, from a copy of an encoder whose weights learn."""

    def __init__(self, encoder: Encoder, documents: Sequence[Sequence[int]]) -> None:
        super().__init__()
        _check_weights(encoder)
        self.encoder, self.documents = deepcopy(encoder).requires_grad_(True), documents
        self.width, self.deviation = encoder.config.vector_width, encoder.config.initializer_range

    def forward(self, rows: np.ndarray) -> Tensor:
        """(B, D)."""
        return self.encoder.embed([self.documents[row] for row in rows])

    def pieces(self, rows: np.ndarray) -> list[np.ndarray]:
        """The rows in pieces that are computed at a time, with few tokens each."""
        size = max(1, _MICRO_TOKENS // max(len(self.documents[row]) for row in rows))
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        return self.encoder.wte.weight.device


class _Run:
    """One training run: a linear layer on vectors that stay as they are, or that learn too."""

    def __init__(
        self, source: _Given | _Learning, protocol: Protocol, seed: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        torch.manual_seed(seed)
        self.source, self.protocol, self.say, self.rng = source, protocol, say, np.random.default_rng(seed)
        self.names: list[str] = []
        self.model = nn.Sequential(source)

    def learn(self, labels_N: np.ndarray, train: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Train on the rows `train`, and keep the epoch that is best on `valid`; without these rows, the last one."""
        self.names = sorted(set(labels_N[train].tolist()))
        if len(self.names) < 2:
            raise CodesageError(f"all rows for training have the label {self.names[0]!r}: expected two labels or more")
        layer = nn.Linear(self.source.width, len(self.names))
        nn.init.normal_(layer.weight, std=self.source.deviation)
        nn.init.zeros_(layer.bias)
        self.model = nn.Sequential(self.source, layer.to(self.source.device))
        number_of = {name: number for number, name in enumerate(self.names)}
        target_N = torch.tensor([number_of.get(label, -1) for label in labels_N.tolist()], device=self.source.device)
        optimizer = AdamW(self.model.parameters(), lr=self.protocol.learning_rate, weight_decay=self.protocol.weight_decay)
        steps = self.protocol.epochs * -(-len(train) // self.protocol.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        best, kept = -1.0, {}
        for epoch in range(1, self.protocol.epochs + 1):
            loss = self._epoch(train, target_N, optimizer, schedule)
            if not np.isfinite(loss):
                raise CodesageError(f"the loss of epoch {epoch} is not finite: lower the learning rate")
            self.say(f"epoch {epoch} of {self.protocol.epochs}: loss {loss:.3f}")
            if valid is not None and len(valid):
                score = macro_f1(self.predicted(valid), labels_N[valid].tolist())
                if score >= best:
                    best, kept = score, deepcopy(self.model.state_dict())
        if kept:
            self.model.load_state_dict(kept)

    def _epoch(self, train: np.ndarray, target_N: Tensor, optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> float:
        """Train on all rows once; the mean loss."""
        self.model.train()
        order, total = self.rng.permutation(train), 0.0
        for start in range(0, len(order), self.protocol.batch):
            rows = order[start : start + self.protocol.batch]
            optimizer.zero_grad()
            for piece in self.source.pieces(rows):
                loss = F.cross_entropy(self.model(piece), target_N[piece], reduction="sum")
                (loss / len(rows)).backward()
                total += loss.item()
            optimizer.step()
            schedule.step()
        self.model.eval()
        return total / len(train)

    @torch.no_grad()
    def predicted(self, rows: np.ndarray) -> list[str]:
        """The most probable label of each row."""
        blocks = [rows[start : start + self.protocol.batch] for start in range(0, len(rows), self.protocol.batch)]
        pieces = [piece for block in blocks for piece in self.source.pieces(block)]
        return [self.names[best] for piece in pieces for best in self.model(piece).argmax(1).tolist()]

    @torch.no_grad()
    def is_finite(self, rows: np.ndarray) -> bool:
        """Whether the scores of these rows are numbers."""
        return bool(self.model(rows).isfinite().all())

    def head(self) -> Head:
        """The linear layer, as a head on vectors that are not standardised."""
        weight_CD, bias_C = (own.detach().cpu().double().numpy() for own in self.model[1].parameters())
        return Head(tuple(self.names), weight_CD, bias_C, np.zeros(self.source.width), np.ones(self.source.width))
