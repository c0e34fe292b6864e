"""Packs tokenised documents into batches of Stage I examples.

The input is Tokens (corpus.tokens), memory-mapped. The output is `Batches.at(step)`: flat token ids and the tokens hidden in
them. A batch is a pure function of (seed, step), so resuming only needs the step. In each epoch, a coin toss assigns each
document an objective: random masking of its plain stream, or deobfuscation of its named stream. Documents are cut into
windows of `max_tokens`. The windows of the epoch are shuffled and then packed in this order into batches of at most
`batch_tokens`. The tokens that a window hides depend on (seed, epoch, window). Positions start at 0 in each window, as they
do in every text that is embedded later.
"""

import sys
from dataclasses import dataclass, replace

import numpy as np

from codesage.corpus.tokens.tokenised import Tokens
from codesage.errors import CodesageError
from codesage.pretrain import masking
from codesage.training import order

OBJECTIVES = ("parallel", "masking", "deobfuscation", "sequential")
_SHORTEST = 8  # tokens of a window; shorter remainders teach nothing
_COIN, _MASKS, _SHIFT = 1, 2, 3  # purposes of random keys


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the examples. The paper gives mask_rate, max_tokens 1024 and the coin of 1/2; the rest is our choice."""

    objective: str = "parallel"  # "parallel": a coin per document; "sequential": masking, then deobfuscation
    masking_steps: int = 0  # of "sequential": steps of masking before deobfuscation; 0: half of the run
    mask_rate: float | tuple[float, float] = 0.15  # two numbers: each window gets a random rate between them
    mask_style: str = "full"  # of random masking: "full" or "80-10-10"
    deobfuscation_share: float | tuple[float, float] = 1.0  # largest share of tokens that deobfuscation hides; 1: no limit
    revealed: float = 0.0  # share of the hidden names that show their first sub-tokens
    max_tokens: int = 1024  # of a window
    random_offsets: bool = False  # cut each document at different places in every epoch
    end_each: bool = False  # add the end token to every window, as in texts cut for embedding; else only the last
    batch_tokens: int = 2048 * 1024
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("objective", OBJECTIVES), ("mask_style", masking.STYLES)):
            if getattr(self, name) not in allowed:
                raise CodesageError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(allowed)}")
        for name in ("mask_rate", "deobfuscation_share"):
            share = getattr(self, name)
            low, high = (share, share) if isinstance(share, (int, float)) else share
            if not 0 < low <= high <= 1:
                raise CodesageError(f"{name} is {share}: expected a share in (0, 1], or a lower and a higher one")
        if not 0 <= self.revealed <= 1:
            raise CodesageError(f"revealed is {self.revealed}: expected a share in [0, 1]")
        if not _SHORTEST + self.end_each <= self.max_tokens <= masking.MOST_TOKENS:
            raise CodesageError(f"max_tokens is {self.max_tokens}: expected {_SHORTEST} to {masking.MOST_TOKENS:,}")
        if not self.max_tokens <= self.batch_tokens < _SHORTEST * masking.MOST_WINDOWS:
            raise CodesageError(
                f"batch_tokens is {self.batch_tokens}: a batch must hold a window of max_tokens "
                f"({self.max_tokens}) and at most {_SHORTEST * masking.MOST_WINDOWS:,} tokens"
            )


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows end to end, shortest first, with T tokens in all and M hidden ones. A batch may be empty."""

    inputs_T: np.ndarray  # int64, <mask> where a token is hidden
    labels_M: np.ndarray  # int64, the hidden tokens
    hidden_M: np.ndarray  # int64, their positions among the T tokens, ascending
    lengths: list[int]  # of the windows, for Layout.of


@dataclass(frozen=True, slots=True)
class _Cut:
    """How an epoch cuts its D documents into windows: window k of a document is [k * longest - shift, ... + longest).

    A shift over 0 makes the first window shorter and moves all later cuts.
    """

    length_D: np.ndarray  # tokens of each document, without the end token if every window gets one
    shift_D: np.ndarray
    longest: int

    @property
    def count_D(self) -> np.ndarray:
        """Number of windows of each document; a remainder under _SHORTEST tokens is left out."""
        return (self.length_D + self.shift_D + self.longest - _SHORTEST) // self.longest

    def spans(self, document_B: np.ndarray, place_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(first token, length) of windows, given their documents and their places within these."""
        start_B = place_B * self.longest - self.shift_D[document_B]
        end_B = np.minimum(start_B + self.longest, self.length_D[document_B])
        start_B = np.maximum(start_B, 0)
        return start_B, end_B - start_B


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The windows of an epoch by batch: W windows of D documents, numbered document by document."""

    named_D: np.ndarray  # bool: whether the document uses its named stream
    cut: _Cut
    first_D: np.ndarray  # number of the first window of each document; D + 1 entries
    order_W: np.ndarray  # window numbers in the order of training
    borders: np.ndarray  # of the batches in order_W: batch b is order_W[borders[b]:borders[b + 1]]

    def __len__(self) -> int:
        return len(self.borders) - 1

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(number, document, first token in the document, length) of the B windows of a batch."""
        window_B = self.order_W[self.borders[batch] : self.borders[batch + 1]]
        document_B = np.searchsorted(self.first_D, window_B, "right") - 1
        return window_B, document_B, *self.cut.spans(document_B, window_B - self.first_D[document_B])


class Batches:
    """An endless sequence of Stage I batches, by step."""

    def __init__(self, tokens: Tokens, settings: Settings) -> None:
        """Raises CodesageError if no document has a window to learn from."""
        self._tokens, self._settings = tokens, settings
        self._plain_D, self._named_D = tokens.plain.lengths, tokens.named.lengths
        special = [tokens.end_id, tokens.mask_id, tokens.pad_id]
        self._ordinary = np.setdiff1d(np.arange(tokens.vocab_size), special)
        self._after: Batches | None = None
        self._masking_steps = settings.masking_steps or sys.maxsize
        if settings.objective == "sequential":
            self._after = Batches(tokens, replace(settings, objective="deobfuscation"))
        try:
            self._epochs = order.Epochs(self._plan)
        except ValueError:
            raise CodesageError(
                f"{tokens.path} holds no document of {_SHORTEST} tokens or more to learn from: "
                "build a corpus with 'codesage corpus build'"
            ) from None

    def at(self, step: int, *, rank: int = 0, world: int = 1) -> Batch:
        """The batch of `step` (from 0), or the part of it for process `rank` of `world` (training.order.share).

        The first call in an epoch plans that epoch, and the first call after a resume plans all epochs up to it. Planning
        takes 0.4 s for a million windows.
        """
        if self._after is not None and step >= self._masking_steps:
            return self._after.at(step - self._masking_steps, rank=rank, world=world)
        epoch, (window_B, document_B, start_B, length_B) = self._epochs.at(step)
        named_B = self._epochs.planned(epoch).named_D[document_B]
        start_B = start_B + np.where(named_B, self._tokens.named.borders[document_B], self._tokens.plain.borders[document_B])
        chosen = order.share(np.argsort(length_B, kind="stable"), rank, world)
        if not len(chosen):  # fewer windows than processes
            return Batch(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64), [])
        return self._hide(epoch, window_B[chosen], named_B[chosen], start_B[chosen], length_B[chosen])

    def switch(self, step: int) -> None:
        """Make "sequential" switch to deobfuscation at `step`, unless it switches earlier or `masking_steps` is set."""
        if not self._settings.masking_steps:
            self._masking_steps = min(self._masking_steps, step)

    def new_objective(self, step: int) -> bool:
        """Whether "sequential" begins with deobfuscation at `step`. Its loss is higher than that of masking before it."""
        return self._after is not None and step == self._masking_steps

    def _hide(self, epoch: int, window_B: np.ndarray, named_B: np.ndarray, start_B: np.ndarray, length_B: np.ndarray) -> Batch:
        settings, tokens = self._settings, self._tokens
        spans = list(zip(named_B.tolist(), start_B.tolist(), (start_B + length_B).tolist(), strict=True))
        ids_T = np.concatenate([(tokens.named if named else tokens.plain).ids[start:end] for named, start, end in spans])
        none = np.zeros(settings.max_tokens, np.uint16)
        names_T = np.concatenate([tokens.names[start:end] if named else none[: end - start] for named, start, end in spans])
        if settings.end_each:
            ends_B = np.cumsum(length_B)
            ids_T, names_T, length_B = np.insert(ids_T, ends_B, tokens.end_id), np.insert(names_T, ends_B, 0), length_B + 1
        key_B = order.draws(order.key(settings.seed, epoch, _MASKS), window_B)
        hidden_T = masking.deobfuscate(names_T, length_B, max_share=settings.deobfuscation_share, key_B=key_B)
        if settings.revealed:
            hidden_T &= ~masking.revealed(names_T, length_B, share=settings.revealed, key_B=key_B)
        # Plain windows, and named windows without any of their file's names, get random masking.
        random_B = ~np.logical_or.reduceat(names_T > 0, np.cumsum(length_B) - length_B)
        random_T = np.repeat(random_B, length_B)
        if random_B.any():
            hidden_T[random_T] = masking.random_mask(
                ids_T[random_T], length_B[random_B], rate=settings.mask_rate, keep_id=tokens.end_id, key_B=key_B[random_B]
            )
        hidden_M = np.flatnonzero(hidden_T)
        inputs_T = ids_T.astype(np.int64)
        labels_M = inputs_T[hidden_M]
        inputs_T[hidden_M] = tokens.mask_id
        if settings.mask_style != "full":
            soft_M = random_T[hidden_M]
            draw = masking.draws_at(hidden_M[soft_M], length_B, key_B=key_B)
            inputs_T[hidden_M[soft_M]] = masking.softened(
                labels_M[soft_M], mask_id=tokens.mask_id, ordinary=self._ordinary, draw_M=draw
            )
        return Batch(inputs_T, labels_M, hidden_M, length_B.tolist())

    def _plan(self, epoch: int) -> _Epoch:
        settings = self._settings
        named_D = self._named_D > 0  # an empty named stream has nothing to hide
        if settings.objective in ("masking", "sequential"):
            named_D[:] = False
        elif settings.objective == "parallel":
            named_D &= order.uniform(order.key(settings.seed, epoch, _COIN), np.arange(len(named_D))) < 0.5
        cut = self._cut(epoch, np.where(named_D, self._named_D, self._plain_D))
        count_D = cut.count_D
        first_D = np.concatenate(([0], np.cumsum(count_D)))
        document_W = np.repeat(np.arange(len(count_D)), count_D)
        _, length_W = cut.spans(document_W, np.arange(first_D[-1]) - first_D[document_W])
        order_W = order.permutation(len(length_W), seed=settings.seed, epoch=epoch)
        borders = _packed(length_W[order_W] + settings.end_each, settings.batch_tokens)
        return _Epoch(named_D, cut, first_D, order_W, borders)

    def _cut(self, epoch: int, length_D: np.ndarray) -> _Cut:
        settings = self._settings
        length_D, longest = length_D - settings.end_each, settings.max_tokens - settings.end_each
        shift_D = np.zeros(len(length_D), np.int64)
        if settings.random_offsets:
            draw_D = order.uniform(order.key(settings.seed, epoch, _SHIFT), np.arange(len(length_D)))
            shift_D = (draw_D * longest).astype(np.int64)
            # A document that fits into a window is not cut, and the first window must not be too short to learn from.
            shift_D[(length_D <= longest) | (shift_D > longest - _SHORTEST)] = 0
        return _Cut(length_D, shift_D, longest)


def _packed(length_W: np.ndarray, budget: int) -> np.ndarray:
    """Borders, int64, of batches of at most `budget` tokens. Each batch takes the next windows as long as they fit."""
    end_W = np.cumsum(length_W)
    after_W = np.searchsorted(end_W, end_W - length_W + budget, "right").tolist()  # end of a batch that starts here
    borders, at = [0], 0
    while at < len(length_W):
        at = after_W[at]
        borders.append(at)
    return np.array(borders)
